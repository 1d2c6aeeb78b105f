package roomserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Size is about how much of the database a room takes up, in bytes.
type Size struct {
	Room  matrix.RoomID
	Bytes int64
}

const (
	// sizedMost is how many rooms are looked at: those that seem to be the largest, and sizedEvents how many events of each.
	sizedMost   = 200
	sizedEvents = 100
	countedMost = 1_000_000
	// eventCost is what an event takes up besides its JSON, and memberCost a member: the event and the rows.
	eventCost  = 300
	memberCost = 1200
)

// Largest finds the rooms that take up the most of the database, the largest first. It is an estimate: by how many events
// and members a room has, and how long its newest events are.
func (r *Rooms) Largest(ctx context.Context, most int) ([]Size, error) {
	var sizes []Size
	err := r.db.View(ctx, func(tx *store.Tx) error {
		rooms, err := crowdedRooms(tx, sizedMost)
		if err != nil {
			return err
		}
		sizes = make([]Size, len(rooms))
		for i, h := range rooms {
			events, length, err := measure(tx, h.nid)
			if err != nil {
				return fmt.Errorf("measure room %s: %w", h.id, err)
			}
			sizes[i] = Size{h.id, events*(length+eventCost) + h.joined*memberCost}
		}
		return nil
	})
	slices.SortFunc(sizes, func(a, b Size) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Room, b.Room)) })
	return sizes[:min(len(sizes), most)], err
}
