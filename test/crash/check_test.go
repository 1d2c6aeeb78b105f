package crash

import (
	"slices"
	"sync"

	"astrocyte/testkit/story"
)

// check compares what the server promised with what it has.
func (w *world) check() {
	w.t.Helper()
	w.checkFaults()
	w.repeat()
	for i, room := range w.rooms {
		h := w.history(room)
		w.checkDense(room, h)
		w.checkMessages(room, h)
		w.checkReaders(room, h)
		w.checkReceipts(room, h)
		w.checkState(w.senders[i].user, room)
	}
	w.checkFaults()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

func (w *world) checkFaults() {
	w.t.Helper()
	for _, s := range w.senders {
		if s.fault != nil {
			w.t.Fatalf("%s: %v", s.user.id, s.fault)
		}
	}
	for _, r := range w.readers {
		if r.fault != nil {
			w.t.Fatalf("%s: %v", r.user.id, r.fault)
		}
	}
}

// repeat sends every message again with its transaction ID. What was acknowledged keeps its event; what was
// not is there once, whether it was stored before the crash or is now.
func (w *world) repeat() {
	w.t.Helper()
	var all sync.WaitGroup
	for _, s := range w.senders {
		all.Go(func() {
			for _, m := range s.messages {
				event, err := s.byHTTP(w.t.Context(), m)
				switch {
				case err != nil:
					w.t.Errorf("%s sends %s again: %v", s.user.id, m.txn, err)
					return
				case m.event == "":
					m.event = event
				case m.event != event:
					w.t.Errorf("%s was acknowledged as %s, and repeated it is %s", s.text(m), m.event, event)
				}
			}
		})
	}
	all.Wait()
}

// history reads a room from the beginning.
func (w *world) history(room string) []story.JSON {
	w.t.Helper()
	var all []story.JSON
	for from := ""; ; {
		page := w.readers[0].user.must(w.t.Context(), w.t, "GET", story.Path("rooms", room, "messages")+"?dir=f&limit=500"+from, nil)
		all = append(all, page.At("chunk").List()...)
		if page.At("end").Text() == "" {
			return all
		}
		from = "&from=" + page.At("end").Text()
	}
}

// checkDense checks that the events are numbered without a hole.
func (w *world) checkDense(room string, history []story.JSON) {
	w.t.Helper()
	for i, e := range history {
		seq := e.At("unsigned", "im.astrocyte.seq").Int()
		if want := history[0].At("unsigned", "im.astrocyte.seq").Int() + int64(i); seq != want || seq == 0 {
			w.t.Errorf("%s: event %d of the history has seq %d, want %d", room, i, seq, want)
			return
		}
	}
}

// checkMessages checks that every message is there once, with the event that was acknowledged, and those of
// a sender in the order of their acknowledgements.
func (w *world) checkMessages(room string, history []story.JSON) {
	w.t.Helper()
	place := map[string]int{} // by text
	events := map[string]string{}
	for i, e := range history {
		if e.At("type").Text() != "m.room.message" {
			continue
		}
		text := e.At("content", "body").Text()
		if before, has := place[text]; has {
			w.t.Errorf("%s: %q is there twice, at %d and %d", room, text, before, i)
		}
		place[text], events[text] = i, e.At("event_id").Text()
	}
	expected := 0
	for _, s := range w.senders {
		last := -1
		for _, m := range s.messages {
			if m.room != room {
				continue
			}
			expected++
			at, has := place[s.text(m)]
			switch {
			case !has:
				w.t.Errorf("%s: %q is lost (%s)", room, s.text(m), m.event)
			case events[s.text(m)] != m.event:
				w.t.Errorf("%s: %q was acknowledged as %s and is %s", room, s.text(m), m.event, events[s.text(m)])
			case at < last:
				w.t.Errorf("%s: %q stands before a message that was acknowledged earlier", room, s.text(m))
			}
			last = max(last, at)
		}
	}
	if len(place) != expected {
		w.t.Errorf("%s has %d messages, %d were sent", room, len(place), expected)
	}
}

// checkReaders lets the readers go on from the token that they had before the crash, and checks that then
// they have seen the whole room: every event once, in its order, and nothing that is not there any more.
func (w *world) checkReaders(room string, history []story.JSON) {
	w.t.Helper()
	var want []string
	for _, e := range history {
		want = append(want, e.At("event_id").Text())
	}
	for _, r := range w.readers {
		if err := r.poll(w.t.Context(), 0); err != nil {
			w.t.Errorf("%s syncs from before the crash: %v", r.user.id, err)
			continue
		}
		seen := r.seen[room]
		if len(seen) == 0 {
			w.t.Errorf("%s has seen nothing of %s", r.user.id, room)
			continue
		}
		from := slices.Index(want, seen[0]) // what was before its first sync it has not seen
		if from < 0 || !slices.Equal(want[from:], seen) {
			w.t.Errorf("%s has seen %d events of %s, which are not its last %d", r.user.id, len(seen), room, len(want)-from)
		}
	}
}

// checkReceipts checks that nobody's acknowledged receipt has gone back.
func (w *world) checkReceipts(room string, history []story.JSON) {
	w.t.Helper()
	place := map[string]int{}
	for i, e := range history {
		place[e.At("event_id").Text()] = i
	}
	a := w.readers[0].user.must(w.t.Context(), w.t, "GET", "/sync?timeout=0", nil)
	stands := map[string]string{}
	for _, e := range a.At("rooms", "join", room, "ephemeral", "events").List() {
		if e.At("type").Text() != "m.receipt" {
			continue
		}
		for _, event := range e.At("content").Keys() {
			for _, user := range e.At("content", event, "m.read").Keys() {
				stands[user] = event
			}
		}
	}
	for _, s := range w.senders {
		want, has := s.receipts[room]
		if !has {
			continue
		}
		if got := stands[s.user.id]; got == "" || place[got] < place[want] {
			w.t.Errorf("%s: %s has read up to %s, which was acknowledged, and is told %q", room, s.user.id, want, got)
		}
	}
}

// checkState sends something that needs the room's state.
func (w *world) checkState(u *account, room string) {
	w.t.Helper()
	members := u.must(w.t.Context(), w.t, "GET", story.Path("rooms", room, "joined_members"), nil).At("joined").Keys()
	if want := len(w.senders) + len(w.readers); len(members) != want {
		w.t.Errorf("%s has %d members, want %d", room, len(members), want)
	}
}
