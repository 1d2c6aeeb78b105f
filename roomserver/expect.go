package roomserver

import (
	"context"
	"fmt"
	"sync"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// expected are the rooms that users of ours are about to enter by the help of other servers, through this node. Those
// servers may send what happens there before it is known here.
type expected struct {
	mu    sync.Mutex
	rooms map[RoomNID]int
}

// Expect notes that a room is about to be entered, and makes it known: from now on, what other servers send of it is to be
// kept until done is called, and received then if the room was entered.
func (r *Rooms) Expect(ctx context.Context, id matrix.RoomID, v *rules.Version) (done func(), err error) {
	nid, err := r.begin(ctx, id, v)
	if err != nil {
		return nil, fmt.Errorf("make room %s known: %w", id, err)
	}
	x := &r.expected
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rooms == nil {
		x.rooms = make(map[RoomNID]int)
	}
	x.rooms[nid]++
	return sync.OnceFunc(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.rooms[nid]--; x.rooms[nid] == 0 {
			delete(x.rooms, nid)
		}
	}), nil
}

// Expects says whether a room is about to be entered through this node.
func (r *Rooms) Expects(room RoomNID) bool {
	r.expected.mu.Lock()
	defer r.expected.mu.Unlock()
	return r.expected.rooms[room] > 0
}
