package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Deletion is a wish that a room ends on this server.
type Deletion struct {
	Room    matrix.RoomID `json:"room_id"`
	By      matrix.UserID `json:"by"`
	Block   bool          `json:"block"`       // nobody may enter it again
	Purge   bool          `json:"purge"`       // what the database has of it is removed
	Force   bool          `json:"force_purge"` // also where somebody could not be made to leave
	NewUser matrix.UserID `json:"new_room_user_id,omitempty"`
	Name    string        `json:"room_name,omitempty"`
	Message string        `json:"message,omitempty"`
}

// Deleted is how far the end of a room is.
type Deleted struct {
	Phase   string             `json:"phase"`
	Kicked  []matrix.UserID    `json:"kicked_users"`
	Leaving []matrix.UserID    `json:"leaving,omitempty"` // noted before they do: a node may die in between
	Failed  []matrix.UserID    `json:"failed_to_kick_users"`
	Aliases []matrix.RoomAlias `json:"local_aliases"`
	NewRoom *matrix.RoomID     `json:"new_room_id"`

	After matrix.UserID `json:"after,omitempty"` // the last who was made to leave, and then who has lost what they had of the room
	Pos   int64         `json:"pos,omitempty"`   // what came up to it has to be told to others before it is removed
	Since int64         `json:"since,omitempty"` // milliseconds: when that began
	Event int64         `json:"event,omitempty"` // the last that was removed
}

// The phases of a deletion.
const (
	phaseLeave  = ""
	phaseUnname = "unname"
	phaseTell   = "tell"
	phaseVanish = "vanish"
	phasePurge  = "purge"
)

// Purging says whether a deletion is at what cannot be undone.
func (d *Deleted) Purging() bool { return d.Phase == phaseVanish || d.Phase == phasePurge }

const (
	// namedMost bounds the users who are told by name.
	namedMost = 1000
	// leaveStep is how many users leave between two notes of how far that is.
	leaveStep = 50
	// tellTime is how long what is to be told to others may keep a room from being removed.
	tellTime = 10 * time.Minute
)

// StartDeletion begins to delete a room. One that this server does not know can be blocked.
func (p *Policy) StartDeletion(ctx context.Context, d Deletion) (task string, err error) {
	known, err := p.rooms.Known(ctx, d.Room)
	if err != nil {
		return "", err
	}
	if !known && !d.Block {
		return "", matrix.NotFound("there is no room %s", d.Room)
	}
	if d.NewUser != "" {
		if err := p.mayBeTold(ctx, d.NewUser); err != nil {
			return "", err
		}
	}
	return p.start(ctx, DeleteRoom, string(d.Room), d, func(tx *store.Tx) error {
		if !d.Block {
			return nil
		}
		return p.rooms.BlockIn(tx, d.Room, d.By)
	})
}

// Deletion tells how far the end of a room is.
func (t *Task) Deletion() (d Deleted, err error) {
	err = t.read(&struct{}{}, &d)
	return d, err
}

// deleteRoom goes on with the end of a room: its members leave, it loses its names, others are told of that, and
// what is left is removed.
func (p *Policy) deleteRoom(ctx context.Context, t *Task) error {
	var wish Deletion
	var done Deleted
	if err := t.read(&wish, &done); err != nil {
		return err
	}
	for {
		next, err := p.deleteStep(ctx, t, &wish, &done)
		if err != nil {
			return err
		}
		if err := p.save(ctx, t, &done); err != nil {
			return err
		}
		if !next {
			return nil
		}
	}
}

// deleteStep does one step, and tells whether there are more.
func (p *Policy) deleteStep(ctx context.Context, t *Task, wish *Deletion, done *Deleted) (more bool, err error) {
	switch done.Phase {
	case phaseLeave:
		if wish.NewUser != "" && done.NewRoom == nil {
			return true, p.makeSuccessor(ctx, t, wish, done)
		}
		return true, p.someLeave(ctx, wish, done)
	case phaseUnname:
		if done.Aliases, done.Pos, err = p.rooms.Unname(ctx, wish.Room); err != nil || !wish.Purge {
			return false, err
		}
		if len(done.Failed) > 0 && !wish.Force {
			return false, matrix.Forbidden("%d users could not be made to leave", len(done.Failed))
		}
		done.Phase, done.Since = phaseTell, p.now().UnixMilli()
	case phaseTell:
		passed, err := p.rooms.Passed(ctx, done.Pos)
		if err == nil && !passed && p.now().UnixMilli()-done.Since < tellTime.Milliseconds() {
			err = errors.New("what happened in the room is not yet told to all")
		}
		if err != nil {
			return false, err
		}
		done.Phase, done.After = phaseVanish, ""
	case phaseVanish:
		if done.After, err = p.rooms.Desert(ctx, wish.Room, done.After); err != nil || done.After != "" {
			return err == nil, err
		}
		done.Phase = phasePurge
		return true, p.rooms.Vanish(ctx, wish.Room)
	case phasePurge:
		done.Event, err = p.rooms.Purge(ctx, wish.Room, done.Event)
		return done.Event != 0, err
	}
	return true, nil
}

// makeSuccessor makes the room to which the members are brought, and tells them why.
func (p *Policy) makeSuccessor(ctx context.Context, t *Task, wish *Deletion, done *Deleted) error {
	profiles, err := p.accounts.Profiles(ctx, []matrix.UserID{wish.NewUser})
	if err != nil {
		return err
	}
	id, err := p.rooms.Create(ctx, roomserver.Creation{
		Creator: wish.NewUser, Profile: roomserver.Profile(profiles[wish.NewUser]), Version: p.version, Preset: roomserver.PublicChat,
		Name: cmp.Or(wish.Name, "Content Violation Notification"), Levels: map[string]json.RawMessage{"users_default": json.RawMessage("-10")},
		Also: func(tx *store.Tx, id matrix.RoomID) error {
			done.NewRoom = &id
			raw, err := json.Marshal(done)
			if err != nil {
				return err
			}
			t.progress = raw
			return writeTask(tx, t)
		},
	})
	if err != nil {
		return fmt.Errorf("make the room to go to: %w", err)
	}
	text := cmp.Or(wish.Message, "Sharing illegal content on this server is not permitted and rooms in violation will be blocked.")
	content, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": text})
	if err != nil {
		return err
	}
	_, err = p.rooms.Send(ctx, roomserver.Draft{Room: id, Sender: wish.NewUser, Type: "m.room.message", Content: content})
	return err
}

// someLeave makes some users leave, and brings them to the room that follows, where there is one.
func (p *Policy) someLeave(ctx context.Context, wish *Deletion, done *Deleted) error {
	users, err := p.rooms.LocalsIn(ctx, wish.Room, done.After, leaveStep)
	if err != nil {
		return err
	}
	if len(done.Leaving) == 0 {
		if done.Leaving = users; len(users) == 0 {
			done.Phase = phaseUnname
		}
		return nil
	}
	for _, u := range done.Leaving {
		if !slices.Contains(users, u) { // left by a try before
			done.Kicked = named(done.Kicked, u)
			if err := p.follows(ctx, u, done.NewRoom); err != nil {
				return err
			}
			continue
		}
		_, err := p.rooms.SetMembership(ctx, roomserver.Change{Room: wish.Room, Sender: u, Target: u, Membership: matrix.Leave, Ending: true})
		var refused *matrix.Error
		switch {
		case errors.As(err, &refused):
			done.Failed = named(done.Failed, u)
		case err != nil:
			return fmt.Errorf("%s leaves: %w", u, err)
		default:
			done.Kicked = named(done.Kicked, u)
		}
		if err := p.follows(ctx, u, done.NewRoom); err != nil {
			return err
		}
	}
	done.After, done.Leaving = done.Leaving[len(done.Leaving)-1], nil
	return nil
}

// follows brings a user to another room. That they may not enter it hinders nothing.
func (p *Policy) follows(ctx context.Context, user matrix.UserID, room *matrix.RoomID) error {
	if room == nil {
		return nil
	}
	profiles, err := p.accounts.Profiles(ctx, []matrix.UserID{user})
	if err != nil {
		return err
	}
	_, err = p.rooms.SetMembership(ctx, roomserver.Change{
		Room: *room, Sender: user, Target: user, Membership: matrix.Join, Profile: roomserver.Profile(profiles[user]),
	})
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

func named(list []matrix.UserID, u matrix.UserID) []matrix.UserID {
	if len(list) >= namedMost {
		return list
	}
	return append(list, u)
}
