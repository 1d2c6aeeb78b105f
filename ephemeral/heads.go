package ephemeral

import (
	"slices"
	"sync"

	"astrocyte/roomserver"
	"astrocyte/store"
)

// heads knows of each room where its newest receipt is, as far back as base: so that nobody asks the
// database about each of a user's rooms. It is filled from the database itself, in the reader's transaction.
type heads struct {
	mu     sync.Mutex
	base   int64 // what came after this position is in rooms; -1: nothing is yet
	filled int64 // up to here
	rooms  map[roomserver.RoomNID]int64
}

const (
	maxHeads = 200_000
	maxFill  = 50_000 // positions: where more were missed, the past is given up
)

func newHeads() *heads { return &heads{base: -1, rooms: make(map[roomserver.RoomNID]int64)} }

// fill brings the heads up to a position. The lock is held.
func (h *heads) fill(tx *store.Tx, upto int64) error {
	if h.base < 0 || upto-h.filled > maxFill {
		clear(h.rooms)
		h.base, h.filled = upto, upto
	}
	if upto <= h.filled {
		return nil
	}
	err := eachReceiptRoom(tx, h.filled, upto, func(room roomserver.RoomNID, pos int64) {
		h.rooms[room] = max(h.rooms[room], pos)
	})
	if err != nil {
		return err
	}
	h.filled = upto
	if len(h.rooms) > maxHeads {
		h.shrink()
	}
	return nil
}

// shrink gives up the older half.
func (h *heads) shrink() {
	all := make([]int64, 0, len(h.rooms))
	for _, pos := range h.rooms {
		all = append(all, pos)
	}
	slices.Sort(all)
	h.base = all[len(all)/2]
	for room, pos := range h.rooms {
		if pos <= h.base {
			delete(h.rooms, room)
		}
	}
}

// since gives those of the rooms that may have receipts after a position.
func (h *heads) since(tx *store.Tx, rooms []roomserver.RoomNID, since, upto int64) ([]int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.fill(tx, upto); err != nil {
		return nil, err
	}
	var out []int64
	for _, room := range rooms {
		if since < h.base || h.rooms[room] > since {
			out = append(out, int64(room))
		}
	}
	return out, nil
}
