package attached

import (
	"context"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/store"
)

const (
	// roomStep is how many places of a room's timeline are looked at in one transaction.
	roomStep = 1000
	// stepsMost bounds the steps of one list of files.
	stepsMost = 100
)

// FilesIn lists files that the events of a room show, each once: those of the places after one, and the place after
// which to go on; 0: there are no more. Of places it looks at as many as have about limit files.
func (a *Attached) FilesIn(ctx context.Context, room matrix.RoomID, after int64, limit int) (files []media.ID, next int64, err error) {
	seen := make(map[media.ID]bool)
	for n := 0; len(files) < limit && n < stepsMost; n++ {
		var shown []media.ID
		if next, err = a.step(ctx, a.o.DB.View, room, after, func(tx *store.Tx, events []int64) (err error) {
			shown, err = a.o.Media.ShownBy(tx, events)
			return err
		}); err != nil {
			return nil, 0, err
		}
		for _, id := range shown {
			if !seen[id] {
				seen[id] = true
				files = append(files, id)
			}
		}
		if after = next; next == 0 {
			break
		}
	}
	return files, next, nil
}

// QuarantineRoom gives the files that the events of a room show to nobody any more, but for those that are protected,
// and tells how many these are. What is done when it fails stays done, and it can be repeated.
func (a *Attached) QuarantineRoom(ctx context.Context, room matrix.RoomID) (n int64, err error) {
	for after := int64(-1 << 62); ; {
		var some int64
		next, err := a.step(ctx, a.o.DB.Update, room, after, func(tx *store.Tx, events []int64) (err error) {
			some, err = a.o.Media.QuarantineShown(tx, events)
			return err
		})
		if n += some; err != nil || next == 0 {
			return n, err
		}
		after = next
	}
}

// step does something with the events at some places of a room's timeline, and gives the last of these; 0: there are
// no more.
func (a *Attached) step(ctx context.Context, transaction func(context.Context, func(*store.Tx) error) error,
	room matrix.RoomID, after int64, do func(tx *store.Tx, events []int64) error) (last int64, err error) {
	err = transaction(ctx, func(tx *store.Tx) error {
		last = 0
		nid, known, err := a.o.Rooms.NID(tx, room)
		if err == nil && !known {
			err = matrix.NotFound("this server does not know the room %s", room)
		}
		if err != nil {
			return err
		}
		items, err := a.o.Rooms.After(tx, nid, after, roomStep)
		if err != nil {
			return err
		}
		events := make([]int64, len(items))
		for i, it := range items {
			events[i] = it.NID
		}
		if len(items) == roomStep {
			last = items[roomStep-1].Seq
		}
		return do(tx, events)
	})
	if err != nil {
		return 0, fmt.Errorf("look for the files of %s: %w", room, err)
	}
	return last, nil
}
