package roomserver

import (
	"context"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// The bounds of a tally: the rooms that are looked at, the places of each that are, from the newest on, and the state
// events of each.
const (
	tallyRooms  = 1000
	tallyPlaces = 100_000
	tallyEvents = 20_000
)

// Tally is what a user has done in the rooms that they are or were in, as far as these are looked through.
type Tally struct {
	Invites int // that they sent
	Joins   int // rooms that they entered
}

// Tally counts what a user has done since a time.
func (r *Rooms) Tally(ctx context.Context, user matrix.UserID, since int64) (t Tally, err error) {
	var rooms []UserRoom
	err = r.db.View(ctx, func(tx *store.Tx) (err error) {
		rooms, err = r.UserRooms(tx, user)
		return err
	})
	if err != nil {
		return t, err
	}
	for _, ur := range rooms[:min(len(rooms), tallyRooms)] {
		err := r.db.View(ctx, func(tx *store.Tx) error {
			in, err := r.tallyIn(tx, ur.Room, user, since)
			t.Invites, t.Joins = t.Invites+in.Invites, t.Joins+in.Joins
			return err
		})
		if err != nil {
			return t, fmt.Errorf("count what %s did in %s: %w", user, ur.ID, err)
		}
	}
	return t, nil
}

// tallyIn counts what a user has done in one room.
func (r *Rooms) tallyIn(tx *store.Tx, room RoomNID, user matrix.UserID, since int64) (t Tally, err error) {
	heads, err := r.Heads(tx, []RoomNID{room})
	if err != nil {
		return t, err
	}
	nids, err := stateAfter(tx, room, heads[room].Seq-tallyPlaces, tallyEvents)
	if err != nil {
		return t, err
	}
	events, err := r.Events(tx, nids)
	if err != nil {
		return t, err
	}
	was := matrix.Leave
	for _, nid := range nids {
		e, ok := events[nid]
		if !ok || e.Type() != "m.room.member" {
			continue
		}
		key, _ := e.StateKey()
		now, counts := e.Membership(), e.OriginServerTS() >= since
		if counts && now == matrix.Invite && e.Sender() == user {
			t.Invites++
		}
		if key != string(user) {
			continue
		}
		if counts && now == matrix.Join && was != matrix.Join {
			t.Joins = 1
		}
		was = now
	}
	return t, nil
}
