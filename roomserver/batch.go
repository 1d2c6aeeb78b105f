package roomserver

import (
	"context"
	"fmt"
	"slices"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// A batch is the work of one transaction: rooms as they are after what was staged so far, and what is
// to be written. Staging writes nothing but interned tuples, so that a wish that is refused half-way
// can be rewound.
type batch struct {
	r     *Rooms
	ctx   context.Context
	tx    *store.Tx
	rooms map[RoomNID]*head

	staged  []*staged                 // timeline events, in order
	past    []*staged                 // history: timeline events without a position
	kept    []*kept                   // events that are not for the timeline
	byNID   map[int64]*Event          // both, for those that build on them
	byID    map[matrix.EventID]*Event // the same
	creates map[RoomNID]*Event        // create events that were stored before
	states  []state.Made              // snapshots
	made    map[int64]*state.State    // the same, by their nids
	names   []name                    // numbers that are given to event ids
	moved   []*moved                  // changes of memberships
	txns    map[txnKey]*staged        // answers to be repeated
	later   []func() error            // further writes of the wishes, done after the events are in
	redact  []redaction

	before prepared // looked up for all wishes at once

	posting *posting  // what the wish that is being fulfilled was told by policy servers
	awaited []awaited // redactions of events that are not here
}

// head is a room's row, and the state it names.
type head struct {
	nid         RoomNID
	id          matrix.RoomID
	version     *rules.Version
	seq         int64
	depth       int64
	extremities []int64
	state       *state.State
	joined      int64
	invited     int64
	facts       facts

	fresh   bool // made in this batch
	dirty   bool
	changed bool // its state
}

// staged is an event that this batch adds to its room's timeline.
type staged struct {
	*Event
	seq   int64
	pos   int64  // known only when all is staged
	snap  int64  // the room's state once it is there
	draft *Draft // nil: it came from another server
	named bool   // a draft's event has its number and our signature already
	entry *entry // by which we enter the room; else nil
	until int64  // of a sticky event that came before: for how long; else 0
	odd   bool   // of history: its time is not between those of what stands beside it
}

// kept is an event that is stored beside the timeline: an outlier, one that was rejected or
// soft-failed, or a redaction of nothing that is here.
type kept struct {
	*Event
	why   string // it was refused
	until int64  // of a sticky event that the state may allow when it changes: for how long; else 0
}

func newBatch(ctx context.Context, r *Rooms, tx *store.Tx) *batch {
	return &batch{
		r: r, ctx: ctx, tx: tx,
		rooms:   make(map[RoomNID]*head),
		byNID:   make(map[int64]*Event),
		byID:    make(map[matrix.EventID]*Event),
		creates: make(map[RoomNID]*Event),
		made:    make(map[int64]*state.State),
		txns:    make(map[txnKey]*staged),
	}
}

// lock reads the rows of all rooms that the wishes name, in the order of their nids, so that two nodes
// never wait for each other in a circle.
func (b *batch) lock(wishes []*wish) error {
	var nids []int64
	for _, w := range wishes {
		for _, n := range w.rooms {
			nids = append(nids, int64(n))
		}
	}
	slices.Sort(nids)
	heads, err := readHeads(b.tx, slices.Compact(nids), true)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if err := b.open(h); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) open(row headRow) error {
	v, err := version(row.version)
	if err != nil {
		return err
	}
	st, err := b.r.states.Load(b.tx, row.snap)
	if err != nil {
		return err
	}
	ext, err := decodeNIDs(row.nid.Shard(), row.extremities)
	if err != nil {
		return err
	}
	b.rooms[row.nid] = &head{
		nid: row.nid, id: row.id, version: v, seq: row.seq, depth: row.depth,
		extremities: ext, state: st, joined: row.joined, invited: row.invited, facts: facts{row.kind, row.encrypted},
	}
	return nil
}

// room finds a room whose row the batch holds.
func (b *batch) room(nid RoomNID) (*head, error) {
	h, ok := b.rooms[nid]
	if !ok {
		return nil, matrix.NotFound("this server is not in that room")
	}
	return h, nil
}

// mark remembers how far staging is, for rewind. A wish changes no rooms but those it names and those
// it makes.
func (b *batch) mark(rooms []RoomNID) mark {
	m := mark{
		staged: len(b.staged), past: len(b.past), kept: len(b.kept), states: len(b.states), names: len(b.names), moved: len(b.moved),
		later: len(b.later), redact: len(b.redact), awaited: len(b.awaited),
	}
	for _, nid := range rooms {
		if h, ok := b.rooms[nid]; ok {
			m.heads = append(m.heads, *h)
		}
	}
	return m
}

type mark struct {
	staged, past, kept, states, names, moved, later, redact, awaited int

	heads []head
}

// rewind takes back what was staged since the mark.
func (b *batch) rewind(m mark) {
	for _, k := range b.kept[m.kept:] {
		b.unknow(k.Event)
	}
	for _, s := range b.past[m.past:] {
		b.unknow(s.Event)
	}
	for _, made := range b.states[m.states:] {
		delete(b.made, made.State.NID())
	}
	for _, s := range b.staged[m.staged:] {
		b.unknow(s.Event)
		if s.draft != nil && s.draft.Txn != nil {
			delete(b.txns, s.draft.key())
		}
		if h := b.rooms[s.Room]; h != nil && h.fresh {
			delete(b.rooms, s.Room)
		}
	}
	b.past = b.past[:m.past]
	b.staged, b.kept, b.states = b.staged[:m.staged], b.kept[:m.kept], b.states[:m.states]
	b.names, b.moved = b.names[:m.names], b.moved[:m.moved]
	b.later, b.redact, b.awaited = b.later[:m.later], b.redact[:m.redact], b.awaited[:m.awaited]
	for _, h := range m.heads {
		b.rooms[h.nid] = &h
	}
}

// know makes an event of this batch known to those that build on it.
func (b *batch) know(e *Event) { b.byNID[e.NID], b.byID[e.ID()] = e, e }

func (b *batch) unknow(e *Event) {
	delete(b.byNID, e.NID)
	delete(b.byID, e.ID())
}

// next makes the state that follows from one by changes, and stages its snapshot.
func (b *batch) next(h *head, st *state.State, changes ...state.Entry) (*state.State, error) {
	next, err := b.r.states.Next(b.ctx, int64(h.nid), st, changes)
	if err == nil && next != st {
		b.use(h, next)
	}
	return next, err
}

// use stages the snapshot of a state that was made for this batch, or before it.
func (b *batch) use(h *head, st *state.State) {
	if _, staged := b.made[st.NID()]; !staged {
		b.made[st.NID()] = st
		b.states = append(b.states, state.Made{Room: int64(h.nid), State: st})
	}
}

// load reads the state of a snapshot, of this batch or an older one.
func (b *batch) load(snap int64) (*state.State, error) {
	if st, ok := b.made[snap]; ok {
		return st, nil
	}
	return b.r.states.Load(b.tx, snap)
}

// event finds an event of this batch or an older one.
func (b *batch) event(nid int64) (*Event, error) {
	if e, ok := b.byNID[nid]; ok {
		return e, nil
	}
	if e, ok := b.before.events[nid]; ok {
		return e, nil
	}
	return b.r.event(b.tx, nid)
}

// stateEvent finds the event that holds a (type, state key) in a room's current state, nil if none does.
func (b *batch) stateEvent(h *head, key rules.StateKey) (*Event, error) {
	return b.stateEventIn(h.state, key)
}

// stateEventIn finds the event that holds a (type, state key) in a state, nil if none does.
func (b *batch) stateEventIn(st *state.State, key rules.StateKey) (*Event, error) {
	tuple, ok, err := b.r.states.Tuple(b.tx, key)
	if err != nil || !ok {
		return nil, err
	}
	nid, ok := st.Event(tuple)
	if !ok {
		return nil, nil
	}
	return b.event(nid)
}

// write puts all that was staged into the database and takes positions, last of all, since that holds
// up every other writer of the stream.
func (b *batch) write() error {
	b.sign()
	steps := []struct {
		what string
		do   func() error
	}{
		{"events", b.insertEvents},
		{"states", func() error { return state.Insert(b.tx, b.states) }},
		{"relations", b.writeRelations},
		{"redactions", b.writeRedactions},
		{"positions", b.takePositions},
		{"timeline", b.insertTimeline},
		{"odd times", b.insertOddTimes},
		{"sticky events", b.writeSticky},
		{"soft-failed sticky events", b.reviewSticky},
		{"members", b.writeMembers},
		{"rooms", b.writeHeads},
		{"transaction ids", b.insertTxns},
		{"jobs", b.noteGuests},
	}
	for _, s := range steps {
		if len(b.staged)+len(b.past)+len(b.kept) == 0 {
			break
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("write %s: %w", s.what, err)
		}
	}
	for _, do := range b.later {
		if err := do(); err != nil {
			return err
		}
	}
	b.announce()
	return nil
}

// takePositions takes a position for each staged event.
func (b *batch) takePositions() error {
	n := int64(len(b.staged))
	if n == 0 {
		return nil
	}
	last, err := b.tx.NextPos(n)
	if err != nil {
		return err
	}
	for i, s := range b.staged {
		s.pos = last - n + 1 + int64(i)
	}
	return nil
}

// announce wakes those who wait for what was staged, and fills the caches, after the commit.
func (b *batch) announce() {
	newest := make(map[RoomNID]int64, len(b.rooms))
	for _, s := range b.staged {
		newest[s.Room] = s.pos
	}
	for _, m := range b.moved {
		if m.was != m.is && b.r.ours(m.user) {
			b.tx.Announce(bus.Change{Kind: bus.User, Key: string(m.user), Pos: m.by.pos})
		}
	}
	for nid, pos := range newest {
		b.tx.Announce(bus.Change{Kind: bus.Room, Key: nid.String(), Pos: pos})
	}
	b.tx.AfterCommit(func() {
		for _, s := range slices.Concat(b.staged, b.past) {
			b.r.events.Put(s.NID, s.Event, s.cost())
		}
		for _, k := range b.kept {
			if k.lasting() {
				b.r.events.Put(k.NID, k.Event, k.cost())
			}
		}
	})
}

// ours says whether a user belongs to this server.
func (r *Rooms) ours(user matrix.UserID) bool { return user.Server() == r.server }
