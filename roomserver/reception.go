package roomserver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// A reception is the taking of one event, in as many tries as there are states to be resolved on the way.
// A try that meets such a state ends with an *unresolved, is rewound, and writes nothing; the resolution is
// done outside of the transaction, so that the committer does not wait for it, and the next try finds what
// came out in the memory of the reception.
//
// States in the memory were made of committed ones only: a try's own are taken over once its batch is
// committed. Those that are fresh are stored by the try that uses them.
type reception struct {
	r    *Rooms
	ev   *rules.Event
	room RoomNID
	nids map[matrix.EventID]int64 // of events, once they have one

	told     []matrix.EventID // the state before the event, as another server told it
	toldFor  matrix.EventID   // the event before it whose state that is; empty: it is its own
	gap      bool             // events before it may be missing
	entering *entry           // it makes us a part of the room; else nil
	relay    bool             // this server brings it to the others
	own      *Draft           // of an event of ours that a policy server has signed
	hasty    bool             // nobody is asked for a signature that it lacks
	healing  *rules.Event     // of ours, that a policy server has signed: it is to carry the healed state
	again    int64            // it is a sticky event that was soft-failed: until when it is sticky; else 0
	verdict  string           // why the policy server of the room does not recommend it
	why      string           // it was refused

	memory map[string]*state.State
	fresh  map[int64]bool // by nid: states that are not stored yet

	b     *batch           // of this try
	made  map[int64]*Event // events that are not stored yet
	heard bool             // the event's id was known before
	many  bool             // the room has more extremities than it should have
	tried map[string]tried
}

// tried is a state that a try has found or made.
type tried struct {
	state *state.State
	made  bool
}

// unresolved says that a try needs one state made of several.
type unresolved struct {
	version *rules.Version
	label   string
	sets    []*state.State
	base    *state.State     // one that the result is likely to be near
	made    map[int64]*Event // events that are not stored yet
}

func (u *unresolved) Error() string { return fmt.Sprintf("%d states are to be resolved", len(u.sets)) }

// begin begins a try.
func (c *reception) begin(b *batch) {
	c.b, c.tried, c.made = b, make(map[string]tried), make(map[int64]*Event)
	if c.own != nil {
		maps.Copy(c.made, b.byNID) // others of the same wish
	}
	c.remembers()
}

func (c *reception) remembers() {
	if c.memory == nil {
		c.memory, c.fresh, c.nids = make(map[string]*state.State), make(map[int64]bool), make(map[matrix.EventID]int64)
	}
}

// head finds the room, if this server is in it.
func (c *reception) head() (*head, error) {
	h, err := c.b.room(c.room)
	if err != nil {
		return nil, err
	}
	if c.entering != nil {
		return h, c.entering.alone(c.b)
	}
	in, err := c.b.inside(h.nid)
	if err == nil && !in {
		err = ErrNotHere
	}
	return h, err
}

// state gives a state that this or an earlier try made.
func (c *reception) state(h *head, label string, make func() (*state.State, error)) (*state.State, error) {
	if st, ok := c.memory[label]; ok {
		if c.fresh[st.NID()] {
			c.b.use(h, st)
		}
		return st, nil
	}
	staged := len(c.b.states)
	st, err := make()
	if err == nil {
		c.tried[label] = tried{st, len(c.b.states) > staged}
	}
	return st, err
}

// remember takes over the states of a try whose batch is committed.
func (c *reception) remember() {
	for label, t := range c.tried {
		c.memory[label] = t.state
		if t.made { // and rewound
			c.fresh[t.state.NID()] = true
		}
	}
	c.b, c.tried = nil, nil
}

// before is the state before the event: of those before it, and what was told.
func (c *reception) before(h *head, near *surroundings) (*state.State, error) {
	if c.entering != nil {
		if c.entering.fresh {
			c.b.use(h, c.entering.told)
		}
		return c.entering.told, nil
	}
	var sets []*state.State
	if told := c.toldState(h); told != nil {
		sets = append(sets, told)
	}
	for _, p := range near.prev {
		st, err := c.b.after(p)
		if err != nil {
			return nil, fmt.Errorf("load the state after %s: %w", p.ID(), err)
		}
		sets = append(sets, st)
	}
	return c.one(h, sets)
}

// toldMost bounds how many events of a state that was told are looked up at a time.
const toldMost = 1000

// toldLabel names the state that was told for the event in the memory of the reception.
func (c *reception) toldLabel() string {
	if c.ev == nil {
		return "told"
	}
	return "told " + string(c.ev.ID())
}

// learn makes the state of the events that were told, before the committer has to do with it: it may be large. Rejected
// ones have no place in a state, and of two for one place the first has it.
func (c *reception) learn(ctx context.Context) error {
	c.remembers()
	if len(c.told) == 0 && c.toldFor == "" || c.memory[c.toldLabel()] != nil { // before the create event there is no state
		return nil
	}
	var base *state.State
	places := make(map[int64]int64, len(c.told))
	err := c.r.db.View(ctx, func(tx *store.Tx) error {
		h, err := c.r.Heads(tx, []RoomNID{c.room})
		if err != nil {
			return err
		}
		if base, err = c.r.states.Load(tx, h[c.room].Snap); err != nil {
			return err
		}
		for ids := range slices.Chunk(c.told, toldMost) {
			if err := c.learnSome(tx, ids, places); err != nil {
				return err
			}
		}
		if c.toldFor == "" {
			return nil
		}
		last := make(map[int64]int64)
		if err := c.learnSome(tx, []matrix.EventID{c.toldFor}, last); err != nil {
			return err
		}
		maps.Copy(places, last)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load the state that was told: %w", err)
	}
	told := entriesOf(places)
	st, err := c.r.states.Next(ctx, int64(c.room), base, state.Changes(base.Entries(), told))
	if err == nil && st != nil {
		c.memory[c.toldLabel()] = st
		c.fresh[st.NID()] = st != base
	}
	return err
}

// toldState is the state that was told, nil where none was.
func (c *reception) toldState(h *head) *state.State {
	told := c.memory[c.toldLabel()]
	if told != nil && c.fresh[told.NID()] {
		c.b.use(h, told)
	}
	return told
}

// learnSome finds the places of some events in the state.
func (c *reception) learnSome(tx *store.Tx, ids []matrix.EventID, places map[int64]int64) error {
	found, err := readKnown(tx, slices.DeleteFunc(slices.Clone(ids), func(id matrix.EventID) bool { return !storable(string(id)) }))
	for _, id := range ids {
		k := found[id]
		if k.status == 0 || k.status == statusRejected || k.room != c.room || k.tuple == 0 {
			continue
		}
		if _, taken := places[k.tuple]; !taken {
			places[k.tuple] = k.nid
		}
	}
	return err
}

// entriesOf gives the places of a state in their order.
func entriesOf(places map[int64]int64) []state.Entry {
	entries := make([]state.Entry, 0, len(places))
	for tuple, event := range places {
		entries = append(entries, state.Entry{Tuple: tuple, Event: event})
	}
	slices.SortFunc(entries, func(a, b state.Entry) int { return cmp.Compare(a.Tuple, b.Tuple) })
	return entries
}

// after is the state with the event.
func (c *reception) after(h *head, e *Event, before *state.State) (*state.State, error) {
	if e.Tuple == 0 {
		return before, nil
	}
	label := "after " + strconv.FormatInt(before.NID(), 10) + " " + strconv.FormatInt(e.NID, 10)
	after, err := c.state(h, label, func() (*state.State, error) {
		return c.b.next(h, before, state.Entry{Tuple: e.Tuple, Event: e.NID})
	})
	e.SnapAfter = after.NID()
	return after, err
}

// after is the state after an event, as its branch of the DAG has it.
func (b *batch) after(e *Event) (*state.State, error) {
	switch {
	case e.Tuple == 0 || e.Status == statusRejected:
		return b.load(e.SnapBefore)
	case e.SnapAfter != 0:
		return b.load(e.SnapAfter)
	}
	it, ok, err := itemOf(b.tx, e.NID) // of before there were branches
	if err == nil && !ok {
		err = fmt.Errorf("the state event %s has no place", e.ID())
	}
	if err != nil {
		return nil, err
	}
	return b.load(it.Snap)
}

// one makes one state of several. Where they differ they must be resolved first.
func (c *reception) one(h *head, sets []*state.State) (*state.State, error) {
	slices.SortFunc(sets, func(a, b *state.State) int { return int(a.NID() - b.NID()) })
	sets = slices.CompactFunc(sets, func(a, b *state.State) bool { return a.NID() == b.NID() })
	if len(sets) == 0 {
		return nil, nil
	}
	if len(sets) == 1 {
		return sets[0], nil
	}
	label := "of"
	for _, s := range sets {
		label += " " + strconv.FormatInt(s.NID(), 10)
	}
	return c.state(h, label, func() (*state.State, error) {
		return nil, &unresolved{version: h.version, label: label, sets: sets, base: h.state, made: c.made}
	})
}

// accept gives the event its place in the timeline, and the room its new extremities and state.
func (c *reception) accept(h *head, e *Event, near *surroundings, after *state.State) error {
	extremities, err := c.extremities(h, e, near)
	if err != nil {
		return err
	}
	c.many = len(extremities) > extremitiesMost
	current := h.state
	switch {
	case c.entering != nil:
		extremities, current = []int64{e.NID}, after
	case !slices.Equal(extremities, h.extremities):
		if current, err = c.current(h, e, after, extremities); err != nil {
			return err
		}
	}
	if c.relay {
		tx := c.b.tx
		c.b.later = append(c.b.later, func() error { return Relay(tx, e.NID) })
	}
	s := &staged{Event: e, draft: c.own, named: c.own != nil, entry: c.entering}
	if c.own != nil && c.own.Txn != nil {
		c.b.txns[c.own.key()] = s
	}
	if len(near.missing) > 0 {
		if err := c.b.openGap(h, s, near.missing); err != nil {
			return err
		}
	}
	return c.b.place(h, s, current, extremities)
}

// current is the state of the room by its extremities, one of which may be the event.
func (c *reception) current(h *head, e *Event, after *state.State, extremities []int64) (*state.State, error) {
	sets := make([]*state.State, 0, len(extremities))
	for _, x := range extremities {
		if x == e.NID {
			sets = append(sets, after)
			continue
		}
		other, err := c.b.event(x)
		if err != nil {
			return nil, fmt.Errorf("load an extremity: %w", err)
		}
		st, err := c.b.after(other)
		if err != nil {
			return nil, fmt.Errorf("load the state of an extremity: %w", err)
		}
		sets = append(sets, st)
	}
	return c.one(h, sets)
}

// walkMost bounds how many events without a place in the timeline are gone through to find which
// extremities an event follows.
const walkMost = 1000

// extremities are the room's with the event: it takes the place of those that it follows, over others
// that were rejected or soft-failed too. An event that fills a gap has others behind it, and is none.
func (c *reception) extremities(h *head, e *Event, near *surroundings) ([]int64, error) {
	left := slices.Clone(h.extremities)
	seen := make(map[int64]bool)
	open := near.prev
	for len(open) > 0 && len(seen) < walkMost {
		p := open[len(open)-1]
		open = open[:len(open)-1]
		left = slices.DeleteFunc(left, func(x int64) bool { return x == p.NID })
		if p.Status == statusAccepted || seen[p.NID] {
			continue
		}
		seen[p.NID] = true
		more, err := c.b.held(p.PrevNIDs)
		if err != nil {
			return nil, fmt.Errorf("load what is before %s: %w", p.ID(), err)
		}
		for _, q := range more {
			open = append(open, q)
		}
	}
	if c.heard {
		if fills, err := c.b.fillsGap(h, e); err != nil || fills {
			return left, err
		}
	}
	return append(left, e.NID), nil
}
