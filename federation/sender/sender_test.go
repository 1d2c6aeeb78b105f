package sender_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
)

func TestEventsReachTheServersOfTheirRoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 3)
		w.follows()
		near, far, none := w.remotes[0], w.remotes[1], w.remotes[2]
		both, one := w.room(near.bob, far.bob), w.room(near.bob)
		w.says(both, alice, "to both")
		w.says(one, alice, "to one")
		w.says(both, near.bob, "not ours")
		w.says(both, alice, "last")
		near.gets("to both", "to one", "last")
		far.gets("to both", "last")
		w.becomes(both, alice, far.bob, matrix.Ban)
		w.says(both, alice, "afterwards")
		near.gets("ban", "afterwards")
		far.gets("ban")
		w.becomes(one, alice, none.bob, matrix.Invite)
		w.becomes(one, alice, none.bob, matrix.Leave)
		none.gets("leave")
		w.says(one, alice, "end")
		near.gets("end")
		for label, n := range near.taken() {
			if n != 1 || label == "not ours" {
				t.Errorf("the server in both rooms got %q %d times", label, n)
			}
		}
		if got := far.taken(); got["to one"]+got["afterwards"]+got["not ours"] != 0 {
			t.Errorf("a server got what is not for it: %v", got)
		}
		if got := none.taken(); len(got) != 1 {
			t.Errorf("a server that is in no room got %v", got)
		}
	})
}

func TestServerThatIsNotReachedIsLeftAlone(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 2)
		w.follows()
		up, down := w.remotes[0], w.remotes[1]
		room := w.room(up.bob, down.bob)
		down.answer(fails, fails, fails)
		w.says(room, alice, "one")
		w.says(room, alice, "two")
		up.gets("one", "two")
		failing := func(times int) {
			t.Helper()
			down.waits(fmt.Sprint("to be tried ", times), func() bool { return len(down.all()) == times })
			w.eventually("to be left alone", func() bool { d := w.destination(down.name); return d.Failing != 0 && d.RetryAt > 0 })
		}
		failing(1)
		first := w.destination(down.name)
		if first.Pause != 30_000 || first.Waiting == 0 {
			t.Errorf("after the first failure: %+v", first)
		}
		w.retry(down.name)
		failing(2)
		w.eventually("to be left alone for longer", func() bool { return w.destination(down.name).Pause == 60_000 })
		if again := w.destination(down.name); again.Failing != first.Failing {
			t.Errorf("it fails since %d, and before since %d", again.Failing, first.Failing)
		}
		w.sender.Contact(down.name) // heard of it
		failing(3)
		w.eventually("to be left alone for longer", func() bool { return w.destination(down.name).Pause == 120_000 })
		w.says(room, alice, "three")
		up.gets("three")
		if n := len(down.all()); n != 3 {
			t.Errorf("a server that is left alone was tried %d times", n)
		}
		w.retry(down.name)
		down.gets("one", "two", "three")
		w.eventually("to be reached", func() bool {
			d := w.destination(down.name)
			return d.Failing == 0 && d.Pause == 0 && d.Waiting == 0 && d.Reached > 0
		})
		tries := down.all()
		if tries[0].ID != tries[1].ID && len(tries[0].PDUs) == len(tries[1].PDUs) {
			t.Errorf("the same transaction came as %s and %s", tries[0].ID, tries[1].ID)
		}
	})
}

func TestPoisonIsFoundAndDropped(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		w.follows()
		room := w.room(r.bob)
		w.says(room, alice, "before")
		r.gets("before")
		w.stop()
		for i := range 20 {
			w.says(room, alice, fmt.Sprint("good ", i))
			if i == 7 {
				w.says(room, alice, "poison")
			}
		}
		rejects := func(a arrived) (int, string) {
			if slices.ContainsFunc(a.PDUs, func(p json.RawMessage) bool { return labelOf(p) == "poison" }) {
				return http.StatusBadRequest, `{"errcode":"M_BAD_JSON","error":"I do not like it"}`
			}
			return http.StatusOK, `{"pdus":{}}`
		}
		for range 30 {
			r.answer(rejects)
		}
		w.sender = w.newSender()
		w.follows()
		for i := range 20 {
			r.gets(fmt.Sprint("good ", i))
		}
		for label, n := range r.taken() {
			if n != 1 {
				t.Errorf("%q came %d times", label, n)
			}
		}
		w.eventually("nothing to wait", func() bool { return w.destination(r.name).Waiting == 0 })
	})
}

// TestServerThatRejectsEverything loses little of what waits for a server that rejects all there is.
func TestServerThatRejectsEverything(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		room := w.room(r.bob)
		w.follows()
		w.stop()
		for i := range 40 {
			w.says(room, alice, fmt.Sprint(i))
		}
		for range 100 {
			r.answer(func(arrived) (int, string) { return http.StatusBadRequest, `{"errcode":"M_BAD_JSON","error":"no"}` })
		}
		w.sender = w.newSender()
		w.follows()
		w.eventually("to be left alone", func() bool { return w.destination(r.name).Failing != 0 })
		r.mu.Lock()
		r.answers = nil
		r.mu.Unlock()
		w.retry(r.name)
		r.gets("39")
		if n := len(r.taken()); n < 37 {
			t.Errorf("%d of 40 events were left", n)
		}
	})
}

func TestServerThatMissedMuchGetsTheNewest(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		w.follows()
		busy, quiet := w.room(r.bob), w.room(r.bob)
		w.leavesAlone(r, busy)
		for i := range 230 {
			w.says(busy, alice, fmt.Sprint("busy ", i))
		}
		for i := range 60 {
			w.says(quiet, alice, fmt.Sprint("quiet ", i))
		}
		w.reached()
		w.retry(r.name)
		r.gets("busy 229")
		for i := range 60 {
			r.gets(fmt.Sprint("quiet ", i))
		}
		if got := r.taken(); got["busy 228"] != 0 || got["busy 229"] != 1 {
			t.Errorf("of the busy room came the last but one %d times, the last %d times", got["busy 228"], got["busy 229"])
		}
	})
}

// TestStayThatBeganAnew leaves out what was said while the server was not in the room.
func TestStayThatBeganAnew(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		w.follows()
		room := w.room(r.bob)
		w.says(room, alice, "first")
		r.gets("first")
		w.leavesAlone(r, room)
		w.says(room, alice, "while he is here")
		w.becomes(room, r.bob, r.bob, matrix.Leave)
		w.says(room, alice, "while he is away")
		w.reached()
		w.becomes(room, r.bob, r.bob, matrix.Join)
		w.says(room, alice, "when he is back")
		w.reached()
		w.retry(r.name)
		r.gets("while he is here", "when he is back")
		if got := r.taken(); got["while he is away"] != 0 {
			t.Errorf("the server got %v", got)
		}
	})
}

// TestNodeDiesWhileItSends has the node die at every point of a transaction: what was taken but not noted comes
// again under the same id, and nothing is lost.
func TestNodeDiesWhileItSends(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		w.follows()
		room := w.room(r.bob)
		held, let := make(chan struct{}), make(chan struct{})
		r.answer(func(arrived) (int, string) {
			close(held)
			<-let
			return http.StatusOK, `{"pdus":{}}`
		})
		w.says(room, alice, "under way")
		<-held
		stopped := make(chan struct{})
		go func() { w.stop(); close(stopped) }() // the request ends with it: whether it was taken is not known
		<-stopped
		close(let)
		r.waits("to be taken", func() bool { return len(r.all()) == 1 })
		w.says(room, alice, "later")
		w.sender = w.newSender()
		w.follows()
		r.gets("later")
		got := r.all()
		if got[0].ID != got[1].ID && len(got[1].PDUs) == 1 {
			t.Errorf("the same transaction came as %s and %s", got[0].ID, got[1].ID)
		}
	})
}

// TestTwoNodesShareTheWork has each server sent to by one node at a time.
func TestTwoNodesShareTheWork(t *testing.T) {
	t.Parallel()
	w := start(t, testkit.Postgres(t), 3)
	w.follows()
	other := w.otherNode()
	var rooms []matrix.RoomID
	for _, r := range w.remotes {
		rooms = append(rooms, w.room(r.bob))
	}
	for i := range 30 {
		for j, room := range rooms {
			from := w
			if i%2 == 1 {
				from = other
			}
			from.says(room, alice, fmt.Sprint(j, " ", i))
		}
	}
	for j, r := range w.remotes {
		for i := range 30 {
			r.gets(fmt.Sprint(j, " ", i))
		}
		for label, n := range r.taken() {
			if n != 1 {
				t.Errorf("%q came %d times", label, n)
			}
		}
	}
}
