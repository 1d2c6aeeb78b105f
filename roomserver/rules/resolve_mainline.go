package rules

import (
	"cmp"
	"math"
	"slices"
)

// sortByMainline gives what is not in the power set, in mainline order: first what is under the oldest
// power levels.
//
// Spec: Room Versions 2 "State resolution", mainline ordering.
func (s *resolutionV2) sortByMainline() ([]*node, error) {
	m := mainline{s: s}
	if pl, ok := s.state[StateKey{Type: "m.room.power_levels"}]; ok {
		i, ok := s.dag.index(pl.nid)
		if !ok {
			return nil, &MissingAuth{pl.nid}
		}
		m.line = append(m.line, i)
	}
	var rest []*node
	for _, n := range s.nodes {
		if n.inPower {
			continue
		}
		var err error
		if n.mainline, err = m.position(n.index); err != nil {
			return nil, err
		}
		rest = append(rest, n)
	}
	slices.SortFunc(rest, func(a, b *node) int {
		if a.mainline != b.mainline {
			return cmp.Compare(b.mainline, a.mainline)
		}
		return older(a.e, b.e)
	})
	return rest, nil
}

// mainline is the power levels of the partially resolved state, those that they refer to, and so on. It
// is followed as far down only as anything asks for.
type mainline struct {
	s    *resolutionV2
	line []uint32 // falling
	done bool
}

// position is how far down the mainline the power levels are that an event is under; beyond all where
// there are none.
func (m *mainline) position(event uint32) (int, error) {
	if len(m.line) == 0 {
		return math.MaxInt, nil
	}
	for {
		pl, ok, err := m.s.governing(event)
		if err != nil || !ok {
			return math.MaxInt, err
		}
		if at, ok, err := m.find(pl); ok || err != nil {
			return at, err
		}
		event = pl
	}
}

// find looks for power levels in the mainline, which it follows until it is at least as old.
func (m *mainline) find(pl uint32) (int, bool, error) {
	for last := m.line[len(m.line)-1]; last > pl && !m.done; last = m.line[len(m.line)-1] {
		before, ok, err := m.s.governing(last)
		if err != nil {
			return 0, false, err
		}
		if m.done = !ok; ok {
			m.line = append(m.line, before)
		}
	}
	at, ok := slices.BinarySearchFunc(m.line, pl, func(a, b uint32) int { return cmp.Compare(b, a) })
	return at, ok, nil
}

// governing finds the power levels among the auth events of an event.
func (s *resolutionV2) governing(event uint32) (uint32, bool, error) {
	if known, ok := s.governs[event]; ok {
		return known - 1, known > 0, nil
	}
	list := s.dag.auth(event)
	if err := s.work.spend(len(list) + 1); err != nil {
		return 0, false, err
	}
	var missing []int64
	for _, a := range list {
		if nid := s.dag.nids[a]; !s.known(nid) {
			missing = append(missing, nid)
		}
	}
	if err := s.load(missing); err != nil {
		return 0, false, err
	}
	s.governs[event] = 0
	for _, a := range list {
		if e := s.events[s.dag.nids[a]]; e != nil && e.IsState("m.room.power_levels", "") {
			s.governs[event] = a + 1
			return a, true, nil
		}
	}
	return 0, false, nil
}
