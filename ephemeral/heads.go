package ephemeral

import (
	"cmp"
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

	log  []Receipt // the newest of all rooms, in the order of their positions
	past int64     // the position after which log is whole
}

const (
	maxReceiptLog = 4096 // receipts that are kept for those who will read them
	maxHeads      = 200_000
	maxFill       = 50_000 // positions: where more were missed, the past is given up
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
		h.log, h.past = nil, upto
	}
	if upto <= h.filled {
		return nil
	}
	fresh, err := newReceipts(tx, h.filled, upto)
	if err != nil {
		return err
	}
	for _, r := range fresh {
		h.rooms[r.Room] = max(h.rooms[r.Room], r.Pos)
		h.users[r.User] = max(h.users[r.User], r.Pos)
	}
	h.keep(fresh)
	h.filled = upto
	if len(h.rooms) > maxHeads {
		h.base = max(h.base, dropOlder(h.rooms))
	}
	if len(h.users) > maxHeads {
		h.base = max(h.base, dropOlder(h.users))
	}
	return nil
}

// keep adds receipts to the log. The lock is held.
func (h *heads) keep(fresh []Receipt) {
	h.log = append(h.log, fresh...)
	if over := len(h.log) - maxReceiptLog; over > 0 {
		drop := max(over, maxReceiptLog/2)
		h.past = h.log[drop-1].Pos
		h.log = append([]Receipt(nil), h.log[drop:]...) // no array of before, which readers may still have, is changed
	}
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

// since gives those of the rooms that may have receipts after a position, and where the log is whole from
// there on, what came since.
func (h *heads) since(tx *store.Tx, rooms []roomserver.RoomNID, since, upto int64) (moved []roomserver.RoomNID, log []Receipt, whole bool, err error) {
	if err := h.upTo(tx, upto); err != nil {
		return nil, nil, false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, room := range rooms {
		if since < h.base || h.rooms[room] > since {
			moved = append(moved, room)
		}
	}
	if len(moved) == 0 || since < h.past {
		return moved, nil, false, nil
	}
	i, _ := slices.BinarySearchFunc(h.log, since+1, func(r Receipt, pos int64) int { return cmp.Compare(r.Pos, pos) })
	return moved, h.log[i:], true, nil
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
