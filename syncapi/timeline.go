package syncapi

import (
	"fmt"
	"slices"

	"astrocyte/roomserver"
)

const (
	// defaultLimit is how many timeline events of a room a client gets that does not say it.
	defaultLimit = 10
	// limitMost bounds what it may ask for.
	limitMost = 1000
	// scanMost bounds the places that are looked at for one room, whatever the filter keeps of them.
	scanMost = 2000
	// beyond is after every place of a timeline.
	beyond = 1 << 62
	// everything is before every position, and before history, whose position is 0.
	everything = -1
)

// span is the part of a room's timeline that an answer is about.
type span struct {
	room  roomserver.RoomNID
	above int64 // position: only what came after it, or everything
	below int64 // seq: only what is before it
	now   int64 // the room's state at its end
	fresh bool  // the client knows nothing of the room's state
	since int64 // the position of the client's token
}

// timeline is what an answer tells of a span: its newest events that the viewer may see and wants.
type timeline struct {
	events  []*roomserver.ClientEvent
	limited bool
	prev    roomserver.Place // from where to page back
	upto    int64            // the position of the answer
	old     int64            // the room's state as the client knows it; 0: none
	start   int64            // the state before the first event
	end     int64            // the state behind the last
	moved   bool             // the span is not empty
	touched map[int64]bool   // tuples that the events set
}

// scan is the reading of a span, backwards from its end.
type scan struct {
	span
	limit  int
	keep   func(*roomserver.ClientEvent) bool
	items  []roomserver.Item         // newest first
	kept   []*roomserver.ClientEvent // newest first
	before roomserver.Item           // the place before the oldest of items; zero: none
	gap    bool                      // between before and the oldest of items are events that the client was not told
}

// readTimeline reads a span.
func (r *reading) readTimeline(sp span) (*timeline, error) {
	sc := &scan{span: sp, limit: r.filter.timelineLimit(), keep: r.filter.timelineEvent}
	page := sc.limit + 1
	if r.filter.narrow || len(r.ignored) > 0 {
		page = max(2*page, 50)
	}
	for below := sp.below; ; {
		items, err := r.placesBefore(sp.room, below, page)
		if err != nil {
			return nil, fmt.Errorf("read the timeline of room %d: %w", sp.room, err)
		}
		taken, end := sc.take(items)
		if err := r.show(sc, taken); err != nil {
			return nil, err
		}
		if end || len(items) < page || sc.limit == 0 || len(sc.kept) > sc.limit || len(sc.items) >= scanMost {
			break
		}
		below = items[len(items)-1].Seq
	}
	return r.cut(sc)
}

// take adds those of a page of places that belong to the span. end says that the span begins there.
func (sc *scan) take(items []roomserver.Item) (taken []roomserver.Item, end bool) {
	from := len(sc.items)
	for _, it := range items {
		if it.Pos <= sc.above {
			sc.before, end = it, true
			sc.gap = it.Pos == 0 // history that came later than the client's token
		}
		if n := len(sc.items); n > 0 && sc.items[n-1].Seq != it.Seq+1 {
			sc.before, end, sc.gap = it, true, true
		}
		if end {
			break
		}
		sc.items = append(sc.items, it)
	}
	return sc.items[from:], end
}

// show adds what the viewer may see and wants of the places.
func (r *reading) show(sc *scan, items []roomserver.Item) error {
	if len(items) == 0 || sc.limit == 0 {
		return nil
	}
	forward := slices.Clone(items)
	slices.Reverse(forward)
	events, err := r.eventsAt(sc.room, forward)
	if err != nil {
		return fmt.Errorf("read events of room %d: %w", sc.room, err)
	}
	_, inside := slices.BinarySearchFunc(r.joined, sc.room, byRoom)
	shown, err := r.a.rooms.RenderExcerpt(r.tx, r.viewer, roomserver.Excerpt{Room: sc.room, Items: forward, Events: events, Inside: inside})
	if err != nil {
		return fmt.Errorf("show the timeline of room %d: %w", sc.room, err)
	}
	for _, e := range slices.Backward(shown) {
		if sc.keep(e) {
			sc.kept = append(sc.kept, e)
		}
	}
	return nil
}

// cut makes the timeline of what was read, and finds the states at both its ends.
func (r *reading) cut(sc *scan) (*timeline, error) {
	t := &timeline{end: sc.now, upto: r.upto, moved: len(sc.items) > 0, touched: make(map[int64]bool)}
	if err := r.begin(sc, t); err != nil {
		return nil, err
	}
	t.events = sc.kept
	slices.Reverse(t.events)
	for _, e := range t.events {
		if e.Tuple != 0 {
			t.touched[e.Tuple] = true
		}
	}
	if sc.fresh {
		return t, nil
	}
	if !t.limited {
		t.old = t.start
		return t, nil
	}
	it, found, err := r.a.rooms.At(r.tx, sc.room, sc.since)
	if err != nil {
		return nil, fmt.Errorf("find where room %d was: %w", sc.room, err)
	}
	if found {
		t.old = it.Snap
	}
	return t, nil
}

// begin finds where the timeline begins, and what is before it.
func (r *reading) begin(sc *scan, t *timeline) error {
	switch {
	case len(sc.kept) > sc.limit:
		sc.kept = sc.kept[:sc.limit]
		first := sc.kept[sc.limit-1].Seq
		i := slices.IndexFunc(sc.items, func(it roomserver.Item) bool { return it.Seq < first })
		sc.before, t.limited = sc.items[i], true
	case sc.gap:
		t.limited = true
	case sc.limit == 0 && len(sc.items) > 0:
		sc.before, t.limited = sc.items[0], true
	case len(sc.items) >= scanMost && sc.before == (roomserver.Item{}):
		older, err := r.a.rooms.Before(r.tx, sc.room, sc.items[len(sc.items)-1].Seq, 1)
		if err != nil {
			return err
		}
		if len(older) > 0 {
			sc.before, t.limited = older[0], true
		}
	case len(sc.items) > 0 && sc.before == (roomserver.Item{}):
		born, err := r.isCreate(sc.items[len(sc.items)-1])
		if err != nil {
			return err
		}
		t.limited = !born
	}
	t.start = sc.before.Snap
	if len(sc.items) == 0 {
		t.start = sc.now
	}
	t.prev = roomserver.Place(sc.before.Seq)
	switch n := len(sc.kept); {
	case n > 0:
		t.prev = roomserver.Place(sc.kept[n-1].Seq - 1)
	case len(sc.items) > 0:
		t.prev = roomserver.Place(sc.items[0].Seq)
	}
	return nil
}

// isCreate says whether a place is where its room began. The timeline of a room that was joined over
// federation begins later.
func (r *reading) isCreate(it roomserver.Item) (bool, error) {
	events, err := r.a.rooms.Events(r.tx, []int64{it.NID})
	if err != nil {
		return false, err
	}
	e, ok := events[it.NID]
	return ok && e.IsState("m.room.create", ""), nil
}

// stateAt reads the state that a user's client knew of a room at a position; nothing if it was not there.
func (r *reading) stateAt(room roomserver.RoomNID, pos int64) (int64, error) {
	it, found, err := r.a.rooms.At(r.tx, room, pos)
	if err != nil || !found {
		return 0, err
	}
	return it.Snap, nil
}
