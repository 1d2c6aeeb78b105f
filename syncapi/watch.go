package syncapi

import (
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// watch is what is known of one user of this server who waits, or did lately.
type watch struct {
	user    matrix.UserID
	waiters []*waiter
	joined  []joinedRoom // sorted by nid; never changed, only replaced
	at      int64        // the position at which joined was read; 0: not yet
	idle    time.Time    // since when nobody waits

	ignored   roomserver.Ignored // never changed, only replaced
	ignoredAt int64              // the position at which ignored was read; 0: not yet
}

// audience is who watches a room.
type audience struct {
	id      matrix.RoomID // the one copy of it that all watches share
	watches []*watch

	// Of a large room the members are woken in turns: owed of them are to be, from the place turn on.
	turn, owed int
}

// joinedRoom is a room that a user is joined to.
type joinedRoom struct {
	Room  roomserver.RoomNID
	ID    matrix.RoomID
	Since int64 // position where the membership began
}

// joinedOf gives the rooms that a user is joined to, as they were read last, and the position of that
// reading; 0 if they are not known.
func (k *waker) joinedOf(user matrix.UserID) (rooms []joinedRoom, at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.watches[user]; w != nil {
		return w.joined, w.at
	}
	return nil, 0
}

// setJoined tells which rooms a user was joined to at a position. A room that moved between that reading
// and now had nobody to wake, so its new watchers are signalled.
func (k *waker) setJoined(user matrix.UserID, rooms []joinedRoom, at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.watches[user]
	if w == nil || at <= w.at {
		return
	}
	missed := false
	for i, r := range rooms {
		id, fresh := k.attach(w, r)
		rooms[i].ID = id
		missed = missed || fresh && k.rooms.perhaps(r.Room, at)
	}
	for _, r := range w.joined {
		_, still := slices.BinarySearchFunc(rooms, r.Room, byRoom)
		if !still {
			k.detach(w, r)
		}
	}
	w.joined, w.at = rooms, at
	if missed {
		w.signal()
	}
}

// stillJoined tells that what was read at a position is so up to a later one.
func (k *waker) stillJoined(user matrix.UserID, from, at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.watches[user]; w != nil && w.at >= from && w.at < at {
		w.at = at
	}
}

// ignoredOf gives whom a user ignores, as it was read last, and the position of that reading; 0 if it is
// not known.
func (k *waker) ignoredOf(user matrix.UserID) (ignored roomserver.Ignored, at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.watches[user]; w != nil {
		return w.ignored, w.ignoredAt
	}
	return nil, 0
}

// setIgnored tells whom a user ignored at a position.
func (k *waker) setIgnored(user matrix.UserID, ignored roomserver.Ignored, at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.watches[user]; w != nil && at > w.ignoredAt {
		w.ignored, w.ignoredAt = ignored, at
	}
}

func byRoom(r joinedRoom, nid roomserver.RoomNID) int {
	switch {
	case r.Room < nid:
		return -1
	case r.Room > nid:
		return 1
	}
	return 0
}

// attach makes a user watch a room, and says whether that is new.
func (k *waker) attach(w *watch, r joinedRoom) (matrix.RoomID, bool) {
	a := k.audiences[r.Room]
	if a == nil {
		a = &audience{id: r.ID}
		k.audiences[r.Room] = a
		k.byID[r.ID] = r.Room
	}
	if _, already := slices.BinarySearchFunc(w.joined, r.Room, byRoom); already {
		return a.id, false
	}
	a.watches = append(a.watches, w)
	a.begin(a.owed > 0)
	return a.id, true
}

func (k *waker) detach(w *watch, r joinedRoom) {
	a := k.audiences[r.Room]
	if a == nil {
		return
	}
	if i := slices.Index(a.watches, w); i >= 0 {
		last := len(a.watches) - 1
		a.watches[i] = a.watches[last]
		a.watches[last] = nil
		a.watches = a.watches[:last]
		a.begin(a.owed > 0)
	}
	if len(a.watches) == 0 {
		delete(k.audiences, r.Room)
		delete(k.byID, a.id)
	}
}
