package remote

import (
	"context"
	"fmt"
	"sync"

	"astrocyte/matrix"
)

// turns lets one at a time enter a room: who comes second finds the room here.
type turns struct {
	mu    sync.Mutex
	rooms map[matrix.RoomID]*turn
}

type turn struct {
	taken   chan struct{} // holds one value while somebody has the turn
	waiting int
}

// lock waits for the turn of a room, and gives what ends it.
func (t *turns) lock(ctx context.Context, room matrix.RoomID) (release func(), err error) {
	t.mu.Lock()
	if t.rooms == nil {
		t.rooms = make(map[matrix.RoomID]*turn)
	}
	it := t.rooms[room]
	if it == nil {
		it = &turn{taken: make(chan struct{}, 1)}
		t.rooms[room] = it
	}
	it.waiting++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if it.waiting--; it.waiting == 0 {
			delete(t.rooms, room)
		}
	}
	select {
	case it.taken <- struct{}{}:
		return func() { <-it.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for others who enter room %s: %w", room, ctx.Err())
	}
}
