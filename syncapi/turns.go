package syncapi

import (
	"runtime"
	"time"

	"astrocyte/roomserver"
)

const (
	// turnEvery is how often members of large rooms are woken while there are some to be.
	turnEvery = 10 * time.Millisecond
	// turnWakes is how many are woken at a time by one processor: about as many as it can answer in half of
	// that time.
	turnWakes = 32
)

// turns wakes the members of large rooms one after the other, round and round: each is woken once after a
// message, and one whose turn comes late is told of several at once. So a large room takes a bounded part of the
// server, and others need not wait for it. It is the waker's, and under its lock.
type turns struct {
	border int // rooms in which more wait are large; 0: none is
	rooms  map[roomserver.RoomNID]bool
	tick   *time.Ticker
}

func newTurns(border int) *turns {
	t := &turns{border: border, rooms: make(map[roomserver.RoomNID]bool), tick: time.NewTicker(turnEvery)}
	t.tick.Stop()
	return t
}

// large says whether more wait in a room than the border. The members who do not wait count little: to look
// over them is quick.
func (t *turns) large(a *audience) bool {
	if t.border == 0 || len(a.watches) <= t.border {
		return false
	}
	n := 0
	for _, w := range a.watches {
		if n += len(w.waiters); n > t.border {
			return true
		}
	}
	return false
}

// begin lets all members have a turn, if that is needed.
func (a *audience) begin(needed bool) {
	if a.owed = 0; needed {
		a.owed = len(a.watches)
	}
}

// add lets all members of a room have a turn.
func (t *turns) add(room roomserver.RoomNID, a *audience) {
	a.begin(true)
	if len(t.rooms) == 0 {
		t.tick.Reset(turnEvery)
	}
	t.rooms[room] = true
}

// takeTurns wakes those whose turn it is.
func (k *waker) takeTurns() {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.turns
	each := max(turnWakes*runtime.GOMAXPROCS(0)/max(len(t.rooms), 1), 1)
	for room := range t.rooms {
		a := k.audiences[room]
		if a == nil || a.wake(each) {
			delete(t.rooms, room)
		}
	}
	if len(t.rooms) == 0 {
		t.tick.Stop()
	}
}

// wake wakes up to n waiters whose turn it is; true: all have had theirs.
func (a *audience) wake(n int) bool {
	for ; a.owed > 0 && n > 0; a.owed-- {
		if a.turn >= len(a.watches) {
			a.turn = 0
		}
		w := a.watches[a.turn]
		a.turn++
		n -= len(w.waiters)
		w.signal()
	}
	return a.owed == 0
}
