package ephemeral

import (
	"fmt"
	"slices"
	"sync"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// heads knows of each room and of each user where their newest receipt is, as far back as base: so that
// nobody asks the database about each of a user's rooms. It is filled from the database itself, in the
// reader's transaction.
type heads struct {
	mu     sync.Mutex
	base   int64 // what came after this position is here; -1: nothing is yet
	filled int64 // up to here
	rooms  map[roomserver.RoomNID]int64
	users  map[matrix.UserID]int64
}

const (
	maxHeads = 200_000
	maxFill  = 50_000 // positions: where more were missed, the past is given up
)

func newHeads() *heads {
	return &heads{base: -1, rooms: make(map[roomserver.RoomNID]int64), users: make(map[matrix.UserID]int64)}
}

// upTo brings the heads up to the position of a transaction.
func (h *heads) upTo(tx *store.Tx, upto int64) error {
	h.mu.Lock()
	done := h.base >= 0 && upto <= h.filled
	h.mu.Unlock()
	if done {
		return nil
	}
	if err := tx.Begin(); err != nil { // nobody waits for a connection who has the lock
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fill(tx, upto)
}

// fill reads what is new. The lock is held.
func (h *heads) fill(tx *store.Tx, upto int64) error {
	if h.base < 0 || upto-h.filled > maxFill {
		clear(h.rooms)
		clear(h.users)
		h.base, h.filled = upto, upto
	}
	if upto <= h.filled {
		return nil
	}
	err := eachNewReceipt(tx, h.filled, upto, func(room roomserver.RoomNID, user matrix.UserID, pos int64) {
		h.rooms[room] = max(h.rooms[room], pos)
		h.users[user] = max(h.users[user], pos)
	})
	if err != nil {
		return err
	}
	h.filled = upto
	if len(h.rooms) > maxHeads {
		h.base = max(h.base, dropOlder(h.rooms))
	}
	if len(h.users) > maxHeads {
		h.base = max(h.base, dropOlder(h.users))
	}
	return nil
}

// dropOlder gives up the older half of some heads, and says up to where.
func dropOlder[K comparable](heads map[K]int64) (base int64) {
	all := make([]int64, 0, len(heads))
	for _, pos := range heads {
		all = append(all, pos)
	}
	slices.Sort(all)
	base = all[len(all)/2]
	for key, pos := range heads {
		if pos <= base {
			delete(heads, key)
		}
	}
	return base
}

// since gives those of the rooms that may have receipts after a position.
func (h *heads) since(tx *store.Tx, rooms []roomserver.RoomNID, since, upto int64) ([]int64, error) {
	if err := h.upTo(tx, upto); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []int64
	for _, room := range rooms {
		if since < h.base || h.rooms[room] > since {
			out = append(out, int64(room))
		}
	}
	return out, nil
}

// ReadSince says whether a user may have new receipts after a position, for a transaction at the position
// upto.
func (e *Ephemeral) ReadSince(tx *store.Tx, user matrix.UserID, since, upto int64) (bool, error) {
	h := e.heads
	if err := h.upTo(tx, upto); err != nil {
		return false, fmt.Errorf("read new receipts: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return since < h.base || h.users[user] > since, nil
}
