package rules

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"astrocyte/matrix"
)

// node is an event of the full conflicted set.
type node struct {
	held
	index uint32 // in the AuthDAG

	inPower  bool  // it is in the set that is sorted by power
	waits    int   // auth events of that set which are not sorted yet
	power    Level // of its sender, by its own auth events
	mainline int   // how old the power levels are that it is under
}

// resolutionV2 is a resolution by the algorithm of room versions 2 to 11, or that of 12.
//
// Spec: Room Versions 2 and 12 "State resolution".
type resolutionV2 struct {
	*resolution
	dag   *AuthDAG
	nodes []*node
	at    map[uint32]*node

	resolved map[int64]int64   // tuple -> event, of what was authorized
	governs  map[uint32]uint32 // event -> the power levels among its auth events, one up; 0 for none
}

func (r *resolution) resolveV2(agreed []Entry, conflicts []conflict, sets int) ([]Entry, error) {
	s := &resolutionV2{
		resolution: r, dag: r.src.Auth, resolved: make(map[int64]int64, len(conflicts)), governs: map[uint32]uint32{},
	}
	if err := s.gather(agreed, conflicts, sets); err != nil {
		return nil, err
	}
	if err := s.settle(agreed); err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(s.resolved))
	for tuple, nid := range s.resolved {
		entries = append(entries, Entry{tuple, nid})
	}
	return join(agreed, entries), nil
}

// settle goes through the full conflicted set: first what decides over others, then the rest.
func (s *resolutionV2) settle(agreed []Entry) error {
	events := make([]*Event, len(s.nodes))
	for i, n := range s.nodes {
		events[i] = n.e
	}
	if err := s.prepare(events, agreed); err != nil {
		return err
	}
	for _, e := range events {
		if s.create == nil && e.isCreate() {
			s.create = e // some set lacks it
		}
	}
	if s.v.Resolution == ResolutionV21 {
		clear(s.state) // the agreed state is laid over the result only
	}
	power, err := s.powerSet()
	if err != nil {
		return err
	}
	if err := s.apply(s.sortByPower(power)); err != nil {
		return err
	}
	rest, err := s.sortByMainline()
	if err != nil {
		return err
	}
	return s.apply(rest)
}

// gather finds the full conflicted set: the conflicted events, the auth difference, and in version 12
// the conflicted state subgraph.
func (s *resolutionV2) gather(agreed []Entry, conflicts []conflict, sets int) error {
	own := make([][]uint32, sets)
	var ends []uint32
	for _, c := range conflicts {
		for set, nid := range c.events {
			if nid == 0 {
				continue
			}
			i, ok := s.dag.index(nid)
			if !ok {
				return &MissingAuth{nid}
			}
			own[set] = append(own[set], i)
			ends = append(ends, i)
		}
	}
	slices.Sort(ends)
	ends = slices.Compact(ends)
	full, err := s.dag.differ(agreed, own, s.work)
	if err != nil {
		return err
	}
	full = append(full, ends...)
	if s.v.Resolution == ResolutionV21 {
		between, err := s.dag.between(ends, s.work)
		if err != nil {
			return err
		}
		full = append(full, between...)
	}
	slices.Sort(full)
	return s.loadNodes(slices.Compact(full))
}

// loadNodes loads the full conflicted set and the auth events of it.
func (s *resolutionV2) loadNodes(full []uint32) error {
	nids := make([]int64, 0, 4*len(full))
	for _, i := range full {
		nids = append(nids, s.dag.nids[i])
		for _, a := range s.dag.auth(i) {
			nids = append(nids, s.dag.nids[a])
		}
	}
	if err := s.load(nids); err != nil {
		return err
	}
	all := make([]node, len(full)) // in one piece
	s.nodes, s.at = make([]*node, 0, len(full)), make(map[uint32]*node, len(full))
	for k, i := range full {
		nid := s.dag.nids[i]
		if e := s.events[nid]; e != nil && e.at.stateKey.ok() {
			n := &all[k]
			n.held, n.index = held{e, nid}, i
			s.nodes = append(s.nodes, n)
			s.at[i] = n
		}
	}
	return nil
}

// isPower says whether the event may take power from somebody.
//
// Spec: Room Versions 2 "State resolution", power events.
func (e *Event) isPower() bool {
	switch e.typ {
	case "m.room.power_levels", "m.room.join_rules", "m.room.create":
		return e.key == ""
	case "m.room.member":
		m := e.Membership()
		return (m == matrix.Leave || m == matrix.Ban) && e.key != string(e.sender)
	}
	return false
}

// powerSet is the power events with what they refer to, so far as all steps on the way are in the full
// conflicted set.
func (s *resolutionV2) powerSet() ([]*node, error) {
	var set, open []*node
	add := func(n *node) {
		if n != nil && !n.inPower {
			n.inPower = true
			set, open = append(set, n), append(open, n)
		}
	}
	for _, n := range s.nodes {
		if n.e.isPower() {
			add(n)
		}
	}
	for len(open) > 0 {
		n := open[len(open)-1]
		open = open[:len(open)-1]
		if err := s.work.spend(1); err != nil {
			return nil, err
		}
		for _, a := range s.dag.auth(n.index) {
			add(s.at[a])
		}
	}
	return set, nil
}

// sortByPower is the reverse topological power ordering.
//
// Spec: Room Versions 2 "State resolution", reverse topological power ordering.
func (s *resolutionV2) sortByPower(set []*node) []*node {
	citedBy := map[*node][]*node{}
	ready := make(byPower, 0, len(set))
	for _, n := range set {
		n.power = s.senderPower(n)
		for _, a := range s.dag.auth(n.index) {
			if before := s.at[a]; before != nil {
				n.waits++
				citedBy[before] = append(citedBy[before], n)
			}
		}
		if n.waits == 0 {
			ready = append(ready, n)
		}
	}
	heap.Init(&ready)
	sorted := make([]*node, 0, len(set))
	for len(ready) > 0 {
		n := heap.Pop(&ready).(*node)
		sorted = append(sorted, n)
		for _, c := range citedBy[n] {
			if c.waits--; c.waits == 0 {
				heap.Push(&ready, c)
			}
		}
	}
	return sorted
}

// senderPower is the power of an event's sender by the auth events of the event itself.
func (s *resolutionV2) senderPower(n *node) Level {
	levels := readLevels(s.cited(n.index, "m.room.create", ""), s.cited(n.index, "m.room.power_levels", ""))
	return levels.User(n.e.sender)
}

// cited finds an event among the auth events of another. The create event of newer versions is not
// among them, and counts as if it were.
func (s *resolutionV2) cited(i uint32, tp, key string) *Event {
	for _, a := range s.dag.auth(i) {
		if e := s.events[s.dag.nids[a]]; e != nil && e.IsState(tp, key) {
			return e
		}
	}
	if tp == "m.room.create" && key == "" && !s.v.CreateInAuthEvents {
		return s.create
	}
	return nil
}

// byPower is a heap of nodes: most power first, then the oldest, then by id.
type byPower []*node

func (b byPower) Len() int { return len(b) }
func (b byPower) Less(i, j int) bool {
	if b[i].power != b[j].power {
		return b[i].power > b[j].power
	}
	return older(b[i].e, b[j].e) < 0
}
func (b byPower) Swap(i, j int) { b[i], b[j] = b[j], b[i] }

// Push is for the heap.
func (b *byPower) Push(x any) { *b = append(*b, x.(*node)) }

// Pop is for the heap.
func (b *byPower) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}

func older(a, b *Event) int {
	if a.ts != b.ts {
		return cmp.Compare(a.ts, b.ts)
	}
	return cmp.Compare(a.id, b.id)
}

// apply is the iterative auth checks: an event that the state so far allows becomes part of it. What the
// state lacks is looked for among the auth events of the event.
//
// Spec: Room Versions 2 "State resolution", iterative auth checks.
func (s *resolutionV2) apply(nodes []*node) error {
	var at uint32
	state := func(tp, key string) *Event {
		if h, ok := s.state[StateKey{tp, key}]; ok {
			return h.e
		}
		return s.cited(at, tp, key)
	}
	for _, n := range nodes {
		if err := s.work.spend(1); err != nil {
			return err
		}
		if at = n.index; Authorize(n.e, state) == nil {
			key := StateKey{n.e.typ, n.e.key}
			tuple := s.tuples[key]
			if tuple == 0 {
				return fmt.Errorf("resolve state: the tuple of event %d has no number", n.nid)
			}
			s.state[key], s.resolved[tuple] = n.held, n.nid
		}
	}
	return nil
}
