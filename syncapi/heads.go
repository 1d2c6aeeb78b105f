package syncapi

import (
	"slices"
	"sync"

	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	// headsMost bounds the rooms whose heads are kept in memory.
	headsMost = 200_000
	// fillMost bounds how far behind the heads may be to be filled from the timeline.
	fillMost = 100_000
)

// heads knows the newest position of every room that has moved lately. It is complete between floor and
// filled, since it is filled from the timeline itself and not from hints.
type heads struct {
	filling sync.Mutex // held while the timeline is read; taken before mu

	mu     sync.Mutex
	pos    map[roomserver.RoomNID]int64
	floor  int64 // what moved after it is here
	filled int64 // up to where the timeline was read
	ready  bool

	hinted map[roomserver.RoomNID]int64 // what hints said, of timelines and of receipts
	heard  int64                        // hints of what came after it are here
}

func newHeads() *heads {
	return &heads{pos: make(map[roomserver.RoomNID]int64), hinted: make(map[roomserver.RoomNID]int64)}
}

// note takes a hint that something happened in a room.
func (h *heads) note(room roomserver.RoomNID, pos int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.hinted) >= headsMost {
		clear(h.hinted)
		h.heard = max(h.filled, pos)
	}
	h.hinted[room] = max(h.hinted[room], pos)
}

// after says whether something may have happened in a room after a position.
func (h *heads) after(room roomserver.RoomNID, pos int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pos[room] > pos || pos < h.floor || h.hinted[room] > pos || pos < h.heard
}

// fill reads what the heads do not know yet up to upto, the position of the transaction. It gives the
// rooms of which no hint had come.
func (h *heads) fill(tx *store.Tx, upto int64) ([]roomserver.RoomNID, error) {
	h.filling.Lock()
	defer h.filling.Unlock()
	h.mu.Lock()
	from, ready := h.filled, h.ready
	h.mu.Unlock()
	switch {
	case ready && upto <= from:
		return nil, nil
	case !ready || upto-from > fillMost:
		h.restart(upto)
		return nil, nil
	}
	moved, err := movedHeads(tx, from, upto)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var news []roomserver.RoomNID
	for _, m := range moved {
		h.pos[m.room] = max(h.pos[m.room], m.pos)
		if m.pos > h.hinted[m.room] && m.pos > h.heard {
			news = append(news, m.room)
		}
	}
	h.filled = upto
	if len(h.pos) > headsMost {
		h.forgetHalf()
	}
	return news, nil
}

// restart begins anew: nothing is known of what was before.
func (h *heads) restart(upto int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.pos)
	h.floor, h.filled, h.ready = upto, upto, true
}

// forgetHalf drops the rooms that moved longest ago.
func (h *heads) forgetHalf() {
	all := make([]int64, 0, len(h.pos))
	for _, pos := range h.pos {
		all = append(all, pos)
	}
	slices.Sort(all)
	floor := min(all[len(all)/2], h.filled)
	for room, pos := range h.pos {
		if pos <= floor {
			delete(h.pos, room)
		}
	}
	h.floor = max(h.floor, floor)
}

// moved gives those of the rooms that have timeline events after since. fill was called before, in the
// same transaction.
func (h *heads) moved(tx *store.Tx, rooms []joinedRoom, since int64) ([]roomserver.RoomNID, error) {
	h.mu.Lock()
	if since >= h.floor {
		defer h.mu.Unlock()
		var out []roomserver.RoomNID
		for _, r := range rooms {
			if h.pos[r.Room] > since {
				out = append(out, r.Room)
			}
		}
		return out, nil
	}
	h.mu.Unlock()
	nids := make([]int64, len(rooms))
	for i, r := range rooms {
		nids[i] = int64(r.Room)
	}
	return movedRooms(tx, nids, since)
}
