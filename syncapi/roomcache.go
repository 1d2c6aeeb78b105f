package syncapi

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"astrocyte/lru"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	// roomsMemory bounds what is kept of rooms that are read, in bytes.
	roomsMemory = 16 << 20
	// windowMin is how many places are kept of a room at least, to serve more than the one reader.
	windowMin = 24
)

// recent is a room as of its newest event: its head, and the newest places of its timeline with their events.
// When an event comes, many members read the same.
type recent struct {
	head  roomserver.Head
	items []roomserver.Item // newest first
	whole bool              // there are no others

	mu     sync.Mutex
	events map[int64]*roomserver.Event // some that were asked for; what changes an event comes with another one
}

// recentKey names a room as of its newest event: with every change of it comes one.
type recentKey struct {
	room roomserver.RoomNID
	pos  int64
}

func newRecents() *lru.Cache[recentKey, *recent] { return lru.New[recentKey, *recent](roomsMemory) }

// recent gives a room as it is to the transaction, from memory where another reader has read it.
func (r *reading) recent(room roomserver.RoomNID, places int) (*recent, error) {
	key := recentKey{room: room}
	var known bool
	key.pos, known = r.a.waker.rooms.newest(room, r.upto)
	if known {
		if kept, ok := r.a.recents.Get(key); ok && (kept.whole || len(kept.items) >= places) {
			return kept, nil
		}
	}
	heads, err := r.a.rooms.Heads(r.tx, []roomserver.RoomNID{room})
	if err != nil {
		return nil, fmt.Errorf("read the head of room %d: %w", room, err)
	}
	if places == 0 && !known {
		return &recent{head: heads[room]}, nil // only the head is asked for
	}
	places = max(places, windowMin)
	items, err := r.a.rooms.Before(r.tx, room, beyond, places)
	if err != nil {
		return nil, fmt.Errorf("read the timeline of room %d: %w", room, err)
	}
	now := &recent{head: heads[room], items: items, whole: len(items) < places}
	if known {
		r.a.recents.Put(key, now, now.cost())
	}
	return now, nil
}

// eventsAt reads the events of places of a room.
func (r *reading) eventsAt(room roomserver.RoomNID, items []roomserver.Item) (map[int64]*roomserver.Event, error) {
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	return r.eventsOf(room, nids)
}

// eventsOf reads events of a room, from memory where another reader has read them.
func (r *reading) eventsOf(room roomserver.RoomNID, nids []int64) (map[int64]*roomserver.Event, error) {
	if len(nids) == 0 {
		return nil, nil
	}
	pos, known := r.a.waker.rooms.newest(room, r.upto)
	kept, ok := r.a.recents.Get(recentKey{room, pos})
	if !known || !ok {
		return r.a.rooms.Events(r.tx, nids)
	}
	out := make(map[int64]*roomserver.Event, len(nids))
	missing := kept.known(nids, out)
	if len(missing) == 0 {
		return out, nil
	}
	read, err := r.a.rooms.Events(r.tx, missing)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, read)
	r.a.recents.Put(recentKey{room, pos}, kept, kept.learn(read))
	return out, nil
}

// known adds the events that are in memory, and gives the nids of the others.
func (n *recent) known(nids []int64, out map[int64]*roomserver.Event) (missing []int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, nid := range nids {
		if e := n.events[nid]; e != nil {
			out[nid] = e
		} else {
			missing = append(missing, nid)
		}
	}
	return missing
}

// keptEvents bounds the events that are kept of one room.
const keptEvents = 64

// learn keeps events, and says what all of it weighs now. Many at once are those of a reader who has missed
// much, and nobody else's.
func (n *recent) learn(events map[int64]*roomserver.Event) (cost int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.events == nil {
		n.events = make(map[int64]*roomserver.Event, len(events))
	}
	if len(n.events)+len(events) <= keptEvents {
		maps.Copy(n.events, events)
	}
	cost = n.cost()
	for _, e := range n.events {
		cost += int64(len(e.Bytes())) + 500
	}
	return cost
}

// cost is what the places weigh, in bytes.
func (n *recent) cost() int64 { return int64(300 + 32*len(n.items)) }

// placesBefore reads places of a timeline, newest first.
func (r *reading) placesBefore(room roomserver.RoomNID, below int64, n int) ([]roomserver.Item, error) {
	if below != beyond {
		return r.a.rooms.Before(r.tx, room, below, n)
	}
	now, err := r.recent(room, n)
	if err != nil {
		return nil, err
	}
	return now.items[:min(n, len(now.items))], nil
}

// warmMost bounds the events of a room that are read before those are woken who wait for them.
const warmMost = 16

// warm reads what is new in rooms, for the many who will ask for it.
func (a *API) warm(ctx context.Context, rooms []roomserver.RoomNID) error {
	return a.view(ctx, func(tx *store.Tx) error {
		r := &reading{a: a, tx: tx}
		var err error
		if r.upto, err = tx.Pos(); err != nil {
			return err
		}
		before := a.waker.rooms.upto()
		if err := a.waker.fill(tx, r.upto); err != nil {
			return err
		}
		for _, room := range rooms {
			now, err := r.recent(room, 0)
			if err != nil {
				return err
			}
			n := 0
			for n < min(len(now.items), warmMost) && (n == 0 || now.items[n].Pos > before) {
				n++
			}
			if _, err := r.eventsAt(room, now.items[:n]); err != nil {
				return err
			}
		}
		return nil
	})
}
