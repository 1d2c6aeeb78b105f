package roomserver

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Outside is a membership of a user of ours in a room that this server is not in: an invite by another
// server, a knock that another server took, or the end of either.
type Outside struct {
	Room       matrix.RoomID
	Version    matrix.RoomVersion
	User       matrix.UserID
	Membership matrix.Membership
	Sender     matrix.UserID
	Via        matrix.ServerName // a server that is in the room
	Stripped   []byte            // what the user is told of the room, or by which event it ended: a JSON list
	// Event and Time are of the event by which it came, where Stripped does not tell them.
	Event matrix.EventID
	Time  int64
	// Also writes what belongs to it in the same transaction, of which it is told the room and the position; nil:
	// nothing.
	Also func(tx *store.Tx, at Passed) error
}

// KeepOutside keeps a membership in a room that this server is not in. It stands in no timeline: the
// event will come with the room if the user joins it. Where this server is in the room by then, the room
// itself tells, and nothing is kept.
func (r *Rooms) KeepOutside(ctx context.Context, o Outside) error {
	fresh, err := r.newNID(ctx)
	if err != nil {
		return err
	}
	return r.db.Update(ctx, func(tx *store.Tx) error {
		if o.Membership == matrix.Invite {
			if err := notBlocked(tx, o.Room); err != nil {
				return err
			}
		}
		nid, err := claimRoomID(tx, o.Room, fresh)
		if err != nil {
			return fmt.Errorf("claim the id of room %s: %w", o.Room, err)
		}
		if in, err := serverIn(tx, nid, r.server); in || err != nil {
			return err
		}
		pos, err := tx.NextPos(1)
		if err != nil {
			return err
		}
		if err := keepOutside(tx, nid, pos, o); err != nil {
			return fmt.Errorf("keep the %s of %s: %w", o.Membership, o.User, err)
		}
		tx.Announce(bus.Change{Kind: bus.User, Key: string(o.User), Pos: pos})
		at := Passed{Room: nid, Item: Item{Pos: pos}}
		if err := r.tellOutside(tx, at, &o); err != nil || o.Also == nil {
			return err
		}
		return o.Also(tx, at)
	})
}

// OnOutside tells who is told of each membership in a room that this server is not in, in the transaction that keeps it.
// It is called before anything is kept.
func (r *Rooms) OnOutside(tell func(tx *store.Tx, at Passed, o *Outside) error) { r.tellOutside = tell }

// FindOutside finds a membership in a room that this server is not in; false where this server is in the room,
// or the user has nothing to do with it.
func (r *Rooms) FindOutside(ctx context.Context, user matrix.UserID, room matrix.RoomID) (o Outside, found bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		nid, ok, err := r.NID(tx, room)
		if err != nil || !ok {
			return err
		}
		in, err := serverIn(tx, nid, r.server)
		if err != nil || in {
			return err
		}
		ur, ok, err := r.UserRoom(tx, user, nid)
		if err != nil || !ok {
			return err
		}
		found = true
		o = Outside{Room: room, User: user, Membership: ur.Membership, Sender: ur.Sender, Stripped: ur.Stripped}
		o.Via, o.Version, err = outsideRoom(tx, user, nid)
		return err
	})
	return o, found, err
}

// Rescind ends the invite or knock of a user of ours in a room that this server is not in, by an event of another
// server whose signatures were checked. An invite is taken back by who gave it, and by nobody else: who may do
// what in the room cannot be told from here. A knock is refused by a server that took it.
func (r *Rooms) Rescind(ctx context.Context, from matrix.ServerName, ev *rules.Event) error {
	key, is := ev.StateKey()
	user := matrix.UserID(key)
	if m := ev.Membership(); !is || !r.ours(user) || m != matrix.Leave && m != matrix.Ban {
		return ErrNotHere
	}
	was, found, err := r.FindOutside(ctx, user, ev.RoomID())
	if err != nil {
		return err
	}
	invited := found && was.Membership == matrix.Invite && was.Sender == ev.Sender()
	knocked := found && was.Membership == matrix.Knock && was.Via == from && ev.Sender().Server() == from
	if !invited && !knocked {
		return ErrNotHere
	}
	o := Outside{Room: ev.RoomID(), Version: was.Version, User: user, Membership: ev.Membership(), Sender: ev.Sender()}
	end := Stripped{
		Content: ev.Content(), Sender: ev.Sender(), StateKey: key, Type: ev.Type(), EventID: ev.ID(), Time: ev.OriginServerTS(),
	}
	if o.Stripped, err = json.Marshal([]Stripped{end}); err != nil {
		return fmt.Errorf("write the end of a membership: %w", err)
	}
	return r.KeepOutside(ctx, o)
}

// LeaveOutside ends an invite or knock of a user of ours at their own wish. The event by which the user is told so
// is theirs alone: other servers get another one, once they can be asked for it.
func (r *Rooms) LeaveOutside(ctx context.Context, was Outside, content map[string]json.RawMessage, also func(*store.Tx, Passed) error) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write the end of a membership: %w", err)
	}
	was.Membership, was.Sender, was.Via, was.Event, was.Also = matrix.Leave, was.User, "", "", also
	was.Stripped, err = json.Marshal([]Stripped{{
		Content: raw, Sender: was.User, StateKey: string(was.User), Type: "m.room.member",
		EventID: matrix.EventID("$" + randomText()), Time: r.now().UnixMilli(),
	}})
	if err != nil {
		return fmt.Errorf("write the end of a membership: %w", err)
	}
	return r.KeepOutside(ctx, was)
}

// OutsideOf lists the invites and knocks of a user in rooms that this server is not in.
func (r *Rooms) OutsideOf(ctx context.Context, user matrix.UserID) ([]Outside, error) {
	var out []Outside
	var rooms []UserRoom
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		rooms, err = r.UserRooms(tx, user)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the rooms of %s: %w", user, err)
	}
	for _, ur := range rooms {
		if ur.Membership != matrix.Invite && ur.Membership != matrix.Knock {
			continue
		}
		o, found, err := r.FindOutside(ctx, user, ur.ID)
		if err != nil {
			return nil, err
		}
		if found {
			out = append(out, o)
		}
	}
	return out, nil
}

// What another server tells of a room to somebody who is not in it is bounded.
const (
	maxForeignState = 100
	maxForeignBytes = 256 << 10
)

// StripForeign makes of the state that another server tells with an invite or a knock what the user is told: a
// JSON list that ends in the member event itself. Entries are whole events or stripped ones; what is neither
// is left out, and so is what goes beyond the bounds.
//
// Spec: CS "Stripped state".
func StripForeign(told []json.RawMessage, member *rules.Event) ([]byte, error) {
	key, _ := member.StateKey()
	own := Stripped{Content: member.Content(), Sender: member.Sender(), StateKey: key, Type: member.Type()}
	list := []Stripped{}
	size := 0
	for _, raw := range told {
		var s struct {
			Content  json.RawMessage `json:"content"`
			Sender   matrix.UserID   `json:"sender"`
			StateKey *string         `json:"state_key"`
			Type     string          `json:"type"`
			Time     int64           `json:"origin_server_ts"`
		}
		if json.Unmarshal(raw, &s) != nil || s.StateKey == nil || s.Type == "" || len(s.Content) == 0 || s.Content[0] != '{' {
			continue
		}
		if _, err := matrix.ParseUserID(string(s.Sender)); err != nil || s.Type == own.Type && *s.StateKey == key {
			continue
		}
		if size += len(raw); len(list) == maxForeignState || size > maxForeignBytes {
			break
		}
		entry := Stripped{Content: s.Content, Sender: s.Sender, StateKey: *s.StateKey, Type: s.Type}
		if s.Type == "m.room.create" {
			entry.Time = s.Time
		}
		list = append(list, entry)
	}
	out, err := json.Marshal(append(list, own))
	if err != nil {
		return nil, fmt.Errorf("write stripped state: %w", err)
	}
	return out, nil
}
