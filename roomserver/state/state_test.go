package state

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestStatesAgreeWithAModel changes a state at random and holds it against a plain map.
func TestStatesAgreeWithAModel(t *testing.T) {
	t.Parallel()
	for _, tuples := range []int64{3, 40, 700, 12000} {
		rnd := rand.New(rand.NewPCG(1, uint64(tuples)))
		const shard = 7
		var st *State
		model := map[int64]int64{}
		type moment struct {
			st    *State
			model map[int64]int64
		}
		var past []moment
		for i := range int64(2000) {
			changes := randomChanges(rnd, tuples, i, shard, model)
			st = st.apply(changes, i+1)
			checkLayers(t, st)
			if i%97 == 0 {
				past = append(past, moment{st, maps.Clone(model)})
			}
		}
		for _, m := range append(past, moment{st, model}) {
			checkAgainst(t, m.st, m.model)
			if diff := Diff(m.st, st); !slices.Equal(diff, modelDiff(m.model, model)) {
				t.Fatalf("%d tuples: the difference is wrong", tuples)
			}
		}
		for _, l := range st.layers {
			got, err := decode(shard, encode(l.delta))
			if err != nil || !slices.Equal(got, l.delta) {
				t.Fatalf("a delta of %d entries is read as another: %v", len(l.delta), err)
			}
		}
	}
}

func randomChanges(rnd *rand.Rand, tuples, i, shard int64, model map[int64]int64) []Entry {
	var changes []Entry
	for k := range int64(1 + rnd.IntN(20)) {
		e := Entry{Tuple: 1 + rnd.Int64N(tuples), Event: (1+i*20+k)<<8 | shard}
		if e.Tuple%3 != 0 {
			e.Tuple |= memberBit
		}
		if rnd.IntN(10) == 0 {
			e.Event = removed
		}
		if !slices.ContainsFunc(changes, func(o Entry) bool { return o.Tuple == e.Tuple }) {
			changes = append(changes, e)
		}
	}
	for _, e := range changes {
		model[e.Tuple] = e.Event
		if e.Event == removed {
			delete(model, e.Tuple)
		}
	}
	slices.SortFunc(changes, func(a, b Entry) int { return cmp.Compare(a.Tuple, b.Tuple) })
	return changes
}

func checkLayers(t *testing.T, s *State) {
	t.Helper()
	for i, l := range s.layers {
		last := i == len(s.layers)-1
		if last != (l.level == whole) || last != (l.anchor == 0) || !last && s.layers[i+1].level <= l.level {
			t.Fatalf("layer %d of %d has level %d and anchor %d", i, len(s.layers), l.level, l.anchor)
		}
		if l.level < whole && len(l.delta) > levelMost[l.level] {
			t.Fatalf("a delta of level %d has %d entries", l.level, len(l.delta))
		}
	}
}

func checkAgainst(t *testing.T, s *State, model map[int64]int64) {
	t.Helper()
	entries := s.Entries()
	if len(entries) != len(model) {
		t.Fatalf("%d entries, want %d", len(entries), len(model))
	}
	rest := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return IsMember(e.Tuple) })
	if got := s.WithoutMembers(); !slices.Equal(got, rest) {
		t.Fatalf("%d entries without members, want %d", len(got), len(rest))
	}
	for _, e := range entries {
		if got, ok := s.Event(e.Tuple); !ok || got != e.Event || model[e.Tuple] != e.Event {
			t.Fatalf("tuple %d: %d and %d, want %d", e.Tuple, e.Event, got, model[e.Tuple])
		}
	}
}

func modelDiff(old, young map[int64]int64) []Difference {
	var out []Difference
	for tuple, was := range old {
		if young[tuple] != was {
			out = append(out, Difference{tuple, was, young[tuple]})
		}
	}
	for tuple, is := range young {
		if _, ok := old[tuple]; !ok {
			out = append(out, Difference{tuple, 0, is})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int { return cmp.Compare(a.Tuple, b.Tuple) })
	return out
}

func TestLost(t *testing.T) {
	t.Parallel()
	of := func(pairs ...[2]int64) (set []Entry) {
		for _, p := range pairs {
			set = append(set, Entry{Tuple: p[0], Event: p[1]})
		}
		return set
	}
	type pair = [2]int64
	one := of(pair{1, 10}, pair{2, 20}, pair{3, 30})
	two := of(pair{1, 11}, pair{3, 30}, pair{5, 50})
	for _, c := range []struct {
		made []Entry
		want []int64
	}{
		{of(pair{1, 11}, pair{2, 20}, pair{3, 30}, pair{5, 50}), nil},
		{of(pair{1, 12}, pair{2, 20}, pair{3, 31}, pair{5, 50}, pair{7, 70}), nil}, // changed is not lost
		{of(pair{1, 10}, pair{2, 20}), []int64{3, 5}},
		{nil, []int64{1, 2, 3, 5}},
	} {
		if got := Lost([][]Entry{one, two}, c.made); !slices.Equal(got, c.want) {
			t.Errorf("%v of %v and %v has lost %v, not %v", c.made, one, two, c.want, got)
		}
	}
}
