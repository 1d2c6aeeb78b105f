package syncapi

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// TestLargeRoomsAreWokenInTurns lets members come and go while others wait for their turn: nobody who is there
// when a message comes is passed over, and nobody is woken twice for it.
func TestLargeRoomsAreWokenInTurns(t *testing.T) {
	t.Parallel()
	const room, members = roomserver.RoomNID(1), 1000
	k := newWaker(nil, bus.NewLocal(), slog.New(slog.DiscardHandler), time.Now)
	k.turns = newTurns(10)
	waiters := make(map[matrix.UserID]*waiter)
	enter := func(name string) {
		u := user(name)
		waiters[u] = k.listen(u)
		k.setJoined(u, []joinedRoom{{Room: room, ID: "!room"}}, 1)
	}
	for i := range members {
		enter(fmt.Sprint("m", i))
	}
	woken := func() (n int) {
		for _, w := range waiters {
			select {
			case <-w.woken:
				n++
			default:
			}
		}
		return n
	}
	woken()
	k.wakeRooms(room)
	if n := woken(); n != 0 {
		t.Errorf("%d were woken at once", n)
	}
	k.takeTurns()
	first := woken()
	if first == 0 || first >= members {
		t.Fatalf("%d had their turn at first, of %d", first, members)
	}
	for range 10 * members {
		k.takeTurns()
	}
	if n := first + woken(); n != members {
		t.Errorf("%d of %d were woken", n, members)
	}
	if k.takeTurns(); woken() != 0 || len(k.turns.rooms) != 0 {
		t.Error("turns go on although all had theirs")
	}

	for _, change := range []func(){
		func() { k.setJoined(user("m30"), nil, 2); delete(waiters, user("m30")) }, // the last one takes its place
		func() { enter("new") },
	} {
		k.wakeRooms(room)
		k.takeTurns()
		change()
		for range 10 * members {
			k.takeTurns()
		}
		for u, w := range waiters {
			select {
			case <-w.woken:
			default:
				t.Errorf("%s was passed over", u)
			}
		}
	}
	small := roomserver.RoomNID(2)
	for i := range 10 {
		k.setJoined(user(fmt.Sprint("m", i+1)), []joinedRoom{{Room: room, ID: "!room"}, {Room: small, ID: "!small"}}, 3)
	}
	woken()
	if k.wakeRooms(small); woken() != 10 {
		t.Error("members of a small room were not woken at once")
	}
}
