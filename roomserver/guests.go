package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// JobGuests is the kind of the job that takes guests out of a room which is not open to them any more. Its key
// is the room's id.
const JobGuests = "guests"

const guestAccess = "m.room.guest_access"

// errNoGuests is what guests are told whom a room does not take.
var errNoGuests = matrix.E(matrix.CodeGuestAccessForbidden, "this room is not open to guests")

// guestsMayJoin refuses a guest who wants to join a room that is not open to guests.
//
// Spec: CS m.room.guest_access.
func (b *batch) guestsMayJoin(h *head) error {
	e, err := b.stateEvent(h, rules.StateKey{Type: guestAccess})
	if err != nil {
		return err
	}
	if !opensToGuests(e) {
		return errNoGuests
	}
	return nil
}

// NoGuests refuses a guest in a room that this server is in and which is not open to guests.
//
// Spec: CS m.room.guest_access.
func (r *Rooms) NoGuests(ctx context.Context, id matrix.RoomID) error {
	return r.db.View(ctx, func(tx *store.Tx) error {
		nid, err := r.known(tx, id)
		if err != nil {
			return err
		}
		e, err := r.StateNow(tx, nid, guestAccess, "")
		if err == nil && !opensToGuests(e) {
			err = errNoGuests
		}
		return err
	})
}

// LetGuestsLeave sees to it, after a while, that no guest is in a room that is not open to guests: whatever happens
// meanwhile.
func (r *Rooms) LetGuestsLeave(ctx context.Context, id matrix.RoomID, after time.Duration) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		return tx.Enqueue(store.Job{Kind: JobGuests, Key: string(id), Delay: after})
	})
}

// opensToGuests says whether a state event, which may be nil, opens its room to guests.
func opensToGuests(e *Event) bool {
	var content struct {
		Access string `json:"guest_access"`
	}
	return e != nil && json.Unmarshal(e.Content(), &content) == nil && content.Access == "can_join"
}

// noteGuests asks for the job that takes guests out of the rooms which this batch closes to them.
func (b *batch) noteGuests() error {
	for _, s := range b.staged {
		if s.Type() != guestAccess || opensToGuests(s.Event) || b.rooms[s.Room].fresh {
			continue
		}
		if err := b.tx.Enqueue(store.Job{Kind: JobGuests, Key: string(b.rooms[s.Room].id)}); err != nil {
			return err
		}
	}
	return nil
}

// ClosedTo lists the users of this server in a room that is not open to guests; none where it is.
func (r *Rooms) ClosedTo(ctx context.Context, id matrix.RoomID) (users []matrix.UserID, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		users = nil
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		st, err := r.states.Load(tx, h.Snap)
		if err != nil {
			return err
		}
		e, err := r.StateEvent(tx, st, guestAccess, "")
		if err != nil || opensToGuests(e) {
			return err
		}
		members, err := r.LocalMembers(tx, h.Room)
		for _, m := range members {
			if m.Joined {
				users = append(users, m.User)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find who may have to leave %s: %w", id, err)
	}
	return users, nil
}
