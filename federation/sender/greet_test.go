package sender_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"astrocyte/testkit"
)

// TestServersAreGreetedAtTheStart is about servers for which nothing waits: they hear of this one.
func TestServersAreGreetedAtTheStart(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 2)
		in, out := w.remotes[0], w.remotes[1]
		room := w.room(in.bob)
		w.follows()
		w.says(room, alice, "before")
		in.gets("before")
		w.eventually("that nothing waits", func() bool { return w.destination(in.name).Waiting == 0 })
		w.stop()
		before := in.greetings()
		w.follows()
		in.waits("the greeting", func() bool { return in.greetings() > before })
		if n := out.greetings(); n > 0 {
			t.Errorf("a server that is in no room is greeted %d times", n)
		}
	})
}

// TestServersAreGreetedAfterACrash: the process before has greeted them a moment ago, and died. They are greeted when that
// moment is over.
func TestServersAreGreetedAfterACrash(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		room := w.room(r.bob)
		w.follows()
		w.says(room, alice, "before")
		r.gets("before")
		w.stop()
		if _, held, err := w.db.Acquire(t.Context(), "federation greeting", "the process that died", 2*time.Second); !held || err != nil {
			t.Fatalf("the lease of greetings is not free: %v", err)
		}
		before := r.greetings()
		w.follows()
		r.waits("the greeting", func() bool { return r.greetings() > before })
	})
}

// TestGreetingIsSentAlone: a server is sent one transaction at a time, and the greeting is one.
func TestGreetingIsSentAlone(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		room := w.room(r.bob)
		w.follows()
		w.says(room, alice, "before")
		r.gets("before")
		w.stop()
		slow := func(arrived) (int, string) {
			time.Sleep(200 * time.Millisecond) // for another to come meanwhile
			return http.StatusOK, `{"pdus":{}}`
		}
		r.answer(slow, slow, slow, slow)
		for i := range 3 {
			w.says(room, alice, fmt.Sprint("meanwhile ", i))
		}
		w.follows()
		r.gets("meanwhile 0", "meanwhile 1", "meanwhile 2")
		w.says(room, alice, "afterwards")
		r.gets("afterwards")
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.most != 1 {
			t.Errorf("%d transactions came at the same time", r.most)
		}
	})
}

// TestBusyServerIsAskedAgainSoon: it is there, and only has too much to do.
func TestBusyServerIsAskedAgainSoon(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, 1)
		r := w.remotes[0]
		room := w.room(r.bob)
		w.follows()
		w.says(room, alice, "before")
		r.gets("before")
		r.answer(func(arrived) (int, string) {
			return http.StatusTooManyRequests, `{"errcode":"M_UNKNOWN","error":"wait"}`
		})
		w.says(room, alice, "one")
		w.eventually("to be left alone", func() bool { return w.destination(r.name).Failing != 0 })
		if d := w.destination(r.name); d.Failing != 0 && d.Pause != 2000 {
			t.Errorf("it is left alone for %d ms", d.Pause)
		}
		r.gets("one")
	})
}
