package syncapi

import (
	"fmt"

	"astrocyte/lru"
	"astrocyte/roomserver"
)

const (
	// roomsMemory bounds what is kept of rooms that are read, in bytes.
	roomsMemory = 16 << 20
	// windowMin is how many places are kept of a room at least, to serve more than the one reader.
	windowMin = 24
)

// recent is a room as of its newest event: its head, and the newest places of its timeline. When an event
// comes, many members read the same.
type recent struct {
	head  roomserver.Head
	items []roomserver.Item // newest first
	whole bool              // there are no others
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
		r.a.recents.Put(key, now, int64(200+32*len(items)))
	}
	return now, nil
}

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
