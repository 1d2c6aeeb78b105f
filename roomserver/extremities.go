package roomserver

import (
	"context"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Extremity is an event of a room that no other follows yet.
type Extremity struct {
	Event *Event
	Snap  int64 // the state after it
}

// Extremities lists the events of a room that no other follows yet.
func (r *Rooms) Extremities(ctx context.Context, id matrix.RoomID) (list []Extremity, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		list = nil
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		rows, err := readHeads(tx, []int64{int64(h.Room)}, false)
		if err != nil || len(rows) == 0 {
			return err
		}
		nids, err := decodeNIDs(h.Room.Shard(), rows[0].extremities)
		if err != nil {
			return err
		}
		events, err := r.Events(tx, nids)
		for _, nid := range nids {
			e, ok := events[nid]
			if !ok {
				continue
			}
			x := Extremity{e, e.SnapAfter}
			if x.Snap == 0 {
				x.Snap = e.SnapBefore
			}
			list = append(list, x)
		}
		return err
	})
	return list, err
}

// MergeExtremities brings the extremities of a room together by events of a user of ours, and tells how many there are
// less. None is dropped: what hangs on it for other servers hangs on it here.
func (r *Rooms) MergeExtremities(ctx context.Context, id matrix.RoomID) (less int, err error) {
	before, err := r.Extremities(ctx, id)
	if err != nil || len(before) < 2 {
		return 0, err
	}
	nid, left := before[0].Event.Room, len(before)
	for n := 0; left > 1 && n < tries; n++ {
		if left, err = r.mergeOver(ctx, nid, 1, r.post); err != nil {
			return 0, fmt.Errorf("bring the extremities of %s together: %w", id, err)
		}
	}
	return len(before) - left, nil
}

// mergeOver brings extremities of a room together, where there are more than some, and tells how many there are then.
func (r *Rooms) mergeOver(ctx context.Context, room RoomNID, most int,
	send func(ctx context.Context, rooms []RoomNID, fulfil func(b *batch) error) error) (left int, err error) {
	err = send(ctx, []RoomNID{room}, func(b *batch) error {
		h, err := b.room(room)
		if err != nil {
			return err
		}
		if left = len(h.extremities); left <= most {
			return nil
		}
		d, err := b.dummy(h)
		if err == nil {
			_, err = b.append(h, d)
		}
		left = len(h.extremities)
		return err
	})
	return left, err
}
