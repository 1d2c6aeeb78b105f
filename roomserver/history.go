package roomserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Hole is a gap in a room's timeline, for those who fill it.
type Hole struct {
	Room    matrix.RoomID
	Version *rules.Version
	Seq     int64            // of the first event after it
	Missing []matrix.EventID // the newest of the events in it
}

// HoleBefore finds the gap that a page of a room's timeline meets when it is read backwards; false: it meets
// none. The page must be one that the viewer may read.
func (r *Rooms) HoleBefore(ctx context.Context, v Viewer, p Page) (Hole, bool, error) {
	var hole Hole
	var found bool
	err := r.db.View(ctx, func(tx *store.Tx) error {
		found = false
		a, err := r.Access(tx, v.User, p.Room)
		if err != nil || !p.Backward {
			return err
		}
		from, _, err := r.bounds(tx, a, p)
		if err != nil {
			return err
		}
		hole, found, err = r.holeBefore(tx, a, from, p.Limit)
		return err
	})
	return hole, found, err
}

// HoleAround is HoleBefore for the events before one.
func (r *Rooms) HoleAround(ctx context.Context, v Viewer, room matrix.RoomID, event matrix.EventID, limit int) (Hole, bool, error) {
	var hole Hole
	var found bool
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, it, _, err := r.visibleEvent(tx, v, room, event)
		if err != nil {
			return err
		}
		hole, found, err = r.holeBefore(tx, a, Place(it.Seq-1), limit)
		return err
	})
	return hole, found, err
}

func (r *Rooms) holeBefore(tx *store.Tx, a Access, from Place, limit int) (Hole, bool, error) {
	gaps, err := gapsOf(tx, a.Room)
	if err != nil {
		return Hole{}, false, fmt.Errorf("read the gaps of the room: %w", err)
	}
	i := slices.IndexFunc(gaps, func(g gap) bool { return g.seq <= int64(from)+1 })
	if i < 0 {
		return Hole{}, false, nil
	}
	items, err := itemsBefore(tx, a.Room, int64(from)+1, limit)
	if err != nil {
		return Hole{}, false, err
	}
	if n := len(items); n == limit && items[n-1].Seq >= gaps[i].seq {
		return Hole{}, false, nil // the page ends before it
	}
	return r.hole(a.Head, gaps[i])
}

func (r *Rooms) hole(h Head, g gap) (Hole, bool, error) {
	hole := Hole{Room: h.ID, Seq: g.seq}
	var err error
	if hole.Version, err = version(h.Version); err != nil {
		return hole, false, err
	}
	for _, m := range g.missing {
		hole.Missing = append(hole.Missing, m.id)
	}
	return hole, true, err
}

// AddHistory puts verified events into a hole of the timeline, each after those before it; told is the state
// before those of them whose own are missing. They are held against the rules like all events, but are news
// to nobody, and change nothing of the room as it is. It gives how many were put there.
func (r *Rooms) AddHistory(ctx context.Context, hole Hole, events []*rules.Event, told map[matrix.EventID][]matrix.EventID) (int, error) {
	c := &reception{r: r, gap: true}
	learn := func() error {
		for _, ev := range events {
			c.ev, c.told = ev, told[ev.ID()]
			if err := c.learn(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	return r.addOld(ctx, c, hole, learn, func() (int, error) { return c.fillHole(hole, events, told) })
}

// addOld commits what a reception stages of history, after it has learnt the states that were told.
func (r *Rooms) addOld(ctx context.Context, c *reception, hole Hole, learn func() error, stage func() (int, error)) (int, error) {
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		c.room, err = r.known(tx, hole.Room)
		return err
	})
	if err == nil {
		err = learn()
	}
	if err != nil {
		return 0, err
	}
	for range tries {
		added := 0
		err := r.commit(ctx, []RoomNID{c.room}, func(b *batch) error {
			c.begin(b)
			var err error
			added, err = stage()
			return err
		})
		var open *unresolved
		if err == nil {
			return added, nil
		}
		if !errors.As(err, &open) {
			return 0, err
		}
		if err := c.resolve(ctx, open); err != nil {
			return 0, fmt.Errorf("resolve a state of history: %w", err)
		}
	}
	return 0, fmt.Errorf("add history to %s: %d resolutions did not suffice", hole.Room, tries)
}

// fillHole stages history.
func (c *reception) fillHole(hole Hole, events []*rules.Event, told map[matrix.EventID][]matrix.EventID) (int, error) {
	h, err := c.head()
	if err != nil {
		return 0, err
	}
	gaps, err := gapsOf(c.b.tx, h.nid)
	if err != nil {
		return 0, fmt.Errorf("read the gaps of the room: %w", err)
	}
	i := slices.IndexFunc(gaps, func(g gap) bool { return g.seq == hole.Seq })
	if i < 0 {
		return 0, nil // somebody else has filled it
	}
	floor, err := c.floor(h, hole)
	if err != nil {
		return 0, err
	}
	var past []*staged
	var lacks []matrix.EventID // before what was added
	for _, ev := range before(events, hole.Missing) {
		if hole.Seq-int64(len(past))-1 <= floor+1 {
			break
		}
		c.ev, c.told = ev, told[ev.ID()]
		s, missing, err := c.old(h)
		if err != nil {
			return 0, err
		}
		if s != nil {
			past = append(past, s)
		}
		lacks = append(lacks, missing...)
	}
	for k, s := range slices.Backward(past) {
		s.seq = hole.Seq - int64(len(past)-k)
	}
	if err := c.findOdd(h.nid, hole.Seq, past); err != nil {
		return 0, err
	}
	c.b.past = append(c.b.past, past...)
	return len(past), c.narrow(h, gaps[i], past, lacks)
}

// before gives those of the events that are among the missing ones, or before them, in their order.
func before(events []*rules.Event, missing []matrix.EventID) []*rules.Event {
	wanted := make(map[matrix.EventID]bool, len(events))
	for _, id := range missing {
		wanted[id] = true
	}
	for _, e := range slices.Backward(events) {
		if wanted[e.ID()] {
			for _, id := range e.Prev() {
				wanted[id] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(events), func(e *rules.Event) bool { return !wanted[e.ID()] })
}

// old stages an event of history but for its place. It gives which events before it are missing. An event
// whose state is not known is left out.
func (c *reception) old(h *head) (*staged, []matrix.EventID, error) {
	in, err := c.b.look(h.nid, c.mentions())
	if err != nil {
		return nil, nil, err
	}
	if k, ok := in.here(c.ev.ID()); ok {
		if e, err := c.b.event(k.nid); err != nil || e.settled() {
			return nil, nil, err
		}
	}
	near, err := c.surroundings(h, in)
	var gap *Gap
	if errors.As(err, &gap) || err == nil && len(near.missing) > 0 && len(c.told) == 0 || in.elsewhere(c.ev.ID()) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	e, err := c.event(h, in, near)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.judgeOld(h, e, near)
	return s, near.missing, err
}

// judgeOld holds an event of history against the rules. It gives nothing for one that is rejected, or is a redaction of
// nothing that is here: its target comes in redacted form.
func (c *reception) judgeOld(h *head, e *Event, near *surroundings) (*staged, error) {
	before, err := c.before(h, near)
	if err != nil {
		return nil, err
	}
	e.SnapBefore = before.NID()
	why, err := c.b.refusedByAuth(h, e.Event, near.auth)
	if why == "" && err == nil {
		why, err = c.b.refusedBy(before, e.Event, "by the state before it")
	}
	if err != nil {
		return nil, err
	}
	if why != "" {
		e.Status = statusRejected
		c.b.keep(e, why)
		return nil, nil
	}
	after, err := c.after(h, e, before)
	if err != nil {
		return nil, err
	}
	c.b.know(e)
	redacts, err := c.b.noteRedaction(h, before, e)
	if err != nil {
		return nil, err
	}
	if !redacts && e.Type() == "m.room.redaction" {
		c.b.keep(e, withheld)
		return nil, nil
	}
	return &staged{Event: e, snap: after.NID()}, c.b.noteAwaited(h, e, nil)
}

// narrow moves a gap below what was added. Where nothing is missing any more it is closed.
func (c *reception) narrow(h *head, g gap, past []*staged, lacks []matrix.EventID) error {
	for _, m := range g.missing {
		lacks = append(lacks, m.id)
	}
	slices.Sort(lacks)
	left, err := c.b.lacking(h, slices.Compact(lacks))
	if err != nil {
		return err
	}
	nids := make([]int64, len(left.missing))
	for i, m := range left.missing {
		nids[i] = m.nid
	}
	found, err := c.b.held(nids)
	if err != nil {
		return err
	}
	left.missing = slices.DeleteFunc(left.missing, func(m missing) bool { return found[m.nid] != nil && found[m.nid].settled() })
	left.seq = g.seq
	if len(past) > 0 {
		left.seq = past[0].seq
	}
	c.b.later = append(c.b.later, func() error {
		return errors.Join(writeGap(c.b.tx, gap{room: h.nid, seq: g.seq}), writeGap(c.b.tx, left))
	})
	return nil
}

// HoleAt finds the gap in which an event of a time stands, as times rise; false: the timeline has no gap.
func (r *Rooms) HoleAt(ctx context.Context, room matrix.RoomID, ts int64) (Hole, bool, error) {
	var hole Hole
	var found bool
	err := r.db.View(ctx, func(tx *store.Tx) error {
		found = false
		h, ok, err := r.headByID(tx, room)
		if err != nil || !ok {
			return err
		}
		gaps, err := gapsOf(tx, h.Room)
		if err != nil {
			return err
		}
		for i, g := range slices.Backward(gaps) {
			behind, err := itemsAfter(tx, h.Room, g.seq-1, 1)
			if err != nil || len(behind) == 0 {
				return err
			}
			e, err := r.event(tx, behind[0].NID)
			if err != nil {
				return err
			}
			if e.OriginServerTS() >= ts || i == 0 {
				hole, found, err = r.hole(h, g)
				return err
			}
		}
		return nil
	})
	return hole, found, err
}

// AddIsland puts one verified event into the middle of a hole of the timeline, with the state before it as
// another server told it. What is missing on both its sides stays so.
func (r *Rooms) AddIsland(ctx context.Context, hole Hole, ev *rules.Event, told []matrix.EventID) error {
	c := &reception{r: r, ev: ev, told: told, gap: true}
	learn := func() error { return c.learn(ctx) }
	_, err := r.addOld(ctx, c, hole, learn, func() (int, error) { return c.island(hole) })
	return err
}

// island stages an event in the middle of a hole.
func (c *reception) island(hole Hole) (int, error) {
	h, err := c.head()
	if err != nil {
		return 0, err
	}
	floor, err := c.floor(h, hole)
	if err != nil {
		return 0, err
	}
	s, lacks, err := c.old(h)
	if err != nil || s == nil {
		return 0, err
	}
	s.seq = hole.Seq - gapWidth
	if s.seq <= floor {
		s.seq = floor + (hole.Seq-floor)/2
	}
	if s.seq <= floor || s.seq >= hole.Seq {
		return 0, nil
	}
	s.odd = true // what will stand beside it is not known
	c.b.past = append(c.b.past, s)
	return 1, c.narrow(h, gap{room: h.nid, seq: s.seq}, nil, lacks)
}

// floor is the newest place below a hole.
func (c *reception) floor(h *head, hole Hole) (int64, error) {
	below, err := itemsBefore(c.b.tx, h.nid, hole.Seq, 1)
	if err != nil || len(below) == 0 {
		return -maxSeq, err
	}
	return below[0].Seq, nil
}
