package policy

import (
	"context"
	"encoding/json"
	"errors"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// Redaction is a wish that what a user has said is redacted.
type Redaction struct {
	User   matrix.UserID   `json:"user_id"`
	By     matrix.UserID   `json:"by"`
	Rooms  []matrix.RoomID `json:"rooms"` // empty: all that they are or were in
	Reason string          `json:"reason,omitempty"`
	Limit  int             `json:"limit"`     // events in each room
	Admin  bool            `json:"use_admin"` // in the name of the administrator, not of the user
}

// Redacted is how far that is.
type Redacted struct {
	Done   int                       `json:"done"`
	Failed map[matrix.EventID]string `json:"failed"`

	Room   int   `json:"room"`   // which of the rooms is next
	Place  int64 `json:"place"`  // up to where it was looked through; 0: not begun
	InRoom int   `json:"inroom"` // events of this room
}

const (
	// RedactMost bounds the rooms, and redactDefault is how many events of each are redacted where nothing is said.
	RedactMost    = 10_000
	redactDefault = 1000
	// failedMost bounds the failures that are told one by one.
	failedMost = 1000
)

// StartRedaction begins to redact what a user has said.
func (p *Policy) StartRedaction(ctx context.Context, r Redaction) (task string, err error) {
	if len(r.Rooms) == 0 {
		if r.Rooms, err = p.rooms.RoomsAnywhereOf(ctx, r.User, RedactMost); err != nil {
			return "", err
		}
	}
	if r.Limit <= 0 {
		r.Limit = redactDefault
	}
	// The redactions of other servers' users have to be somebody's of ours.
	r.Admin = r.Admin || r.User.Server() != p.rooms.Server()
	return p.start(ctx, RedactUser, string(r.User), r, nil)
}

// Redaction tells how far a redaction is.
func (t *Task) Redaction() (r Redacted, err error) {
	err = t.read(&struct{}{}, &r)
	return r, err
}

func (p *Policy) redactUser(ctx context.Context, t *Task) error {
	var wish Redaction
	done := Redacted{Failed: map[matrix.EventID]string{}}
	if err := t.read(&wish, &done); err != nil {
		return err
	}
	for done.Room < len(wish.Rooms) {
		if err := p.redactSome(ctx, &wish, &done); err != nil {
			return err
		}
		if err := p.save(ctx, t, &done); err != nil {
			return err
		}
	}
	return nil
}

// redactSome redacts what a part of a room's timeline has of the user. One that was redacted is not found again, so
// it can be repeated.
func (p *Policy) redactSome(ctx context.Context, wish *Redaction, done *Redacted) error {
	room := wish.Rooms[done.Room]
	events, place, err := p.rooms.SentBy(ctx, room, wish.User, done.Place)
	var gone *matrix.Error
	if errors.As(err, &gone) {
		events, place = nil, 0
	} else if err != nil {
		return err
	}
	events = events[:min(len(events), wish.Limit-done.InRoom)]
	sender := wish.User
	if wish.Admin {
		sender = wish.By
	}
	content := map[string]string{}
	if wish.Reason != "" {
		content["reason"] = wish.Reason
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	for _, id := range events {
		_, err := p.rooms.Send(ctx, roomserver.Draft{Room: room, Sender: sender, Type: "m.room.redaction", Content: raw, Redacts: id})
		var refused *matrix.Error
		switch {
		case errors.As(err, &refused):
			if len(done.Failed) < failedMost {
				done.Failed[id] = refused.Message
			}
		case err != nil:
			return err
		default:
			done.Done++
		}
	}
	done.InRoom += len(events)
	if done.Place = place; place == 0 || done.InRoom >= wish.Limit {
		done.Room, done.Place, done.InRoom = done.Room+1, 0, 0
	}
	return nil
}
