package roomserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// expectTime is for how long a room counts as about to be entered after the node that enters it has died.
const expectTime = 30 * time.Second

// Expect notes, for all nodes, that a room is about to be entered by the help of other servers, and makes it known. These
// may send what happens there before it is known here: from now on that is to be kept until done is called, and received
// then if the room was entered.
func (r *Rooms) Expect(ctx context.Context, id matrix.RoomID, v *rules.Version) (done func(), err error) {
	nid, holder := RoomNID(0), randomText()
	for there := false; !there && err == nil; {
		if nid, err = r.begin(ctx, id, v); err == nil {
			there, err = r.expect(ctx, nid, id, holder)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("note that room %s is about to be entered: %w", id, err)
	}
	held, end := context.WithCancel(context.WithoutCancel(ctx))
	var keeping sync.WaitGroup
	keeping.Go(func() { r.keepExpecting(held, nid, holder) })
	return sync.OnceFunc(func() {
		end()
		keeping.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), expectTime)
		defer cancel()
		if err := r.expectNoMore(ctx, nid, id, holder); err != nil {
			r.log.Warn("that a room is about to be entered ends by itself", "room", id, "error", err)
		}
	}), nil
}

// expect notes who is about to enter a room, and the job for the case that they do not; false: what was kept of the room
// was removed just now.
func (r *Rooms) expect(ctx context.Context, room RoomNID, id matrix.RoomID, holder string) (there bool, err error) {
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		heads, err := readHeads(tx, []int64{int64(room)}, true)
		if there = len(heads) > 0; !there || err != nil {
			return err
		}
		if heads[0].seq == 0 {
			if err := tx.Enqueue(store.Job{Kind: JobAbandoned, Key: string(id), Delay: entryKept}); err != nil {
				return err
			}
		}
		return expectRoom(tx, room, holder, expectTime.Milliseconds())
	})
	return there, err
}

// expectNoMore takes the note back, and the job where the room was entered.
func (r *Rooms) expectNoMore(ctx context.Context, room RoomNID, id matrix.RoomID, holder string) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		inside, err := serverIn(tx, room, r.server)
		if err == nil && inside {
			err = tx.Withdraw(JobAbandoned, string(id))
		}
		if err != nil {
			return err
		}
		return unexpectRoom(tx, room, holder)
	})
}

// keepExpecting renews the note until the context ends.
func (r *Rooms) keepExpecting(ctx context.Context, room RoomNID, holder string) {
	tick := time.NewTicker(expectTime / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err := r.db.Update(ctx, func(tx *store.Tx) error { return expectRoom(tx, room, holder, expectTime.Milliseconds()) })
			if err != nil && ctx.Err() == nil {
				r.log.Warn("note that a room is about to be entered", "room", int64(room), "error", err)
			}
		}
	}
}

// Awaits says whether this server is in a room, and if not, whether it is about to enter it.
func (r *Rooms) Awaits(ctx context.Context, room RoomNID) (inside, about bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		expected, err := expectedRooms(tx, []RoomNID{room}) // read before: what ends between was entered
		if err != nil {
			return err
		}
		about = len(expected) > 0
		inside, err = serverIn(tx, room, r.server)
		return err
	})
	return inside, about, err
}
