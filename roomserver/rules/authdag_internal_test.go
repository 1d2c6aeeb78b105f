package rules

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomDAG makes a DAG in which each event refers to some of the last before it.
func randomDAG(t *testing.T, r *rand.Rand, n int) (*AuthDAG, [][]uint32) {
	t.Helper()
	d := new(AuthDAG)
	lists := make([][]uint32, n)
	for i := range n {
		var auth []int64
		for range r.IntN(5) {
			if i > 0 {
				a := max(0, i-1-r.IntN(30))
				if !slices.Contains(lists[i], uint32(a)) {
					lists[i] = append(lists[i], uint32(a))
					auth = append(auth, nidOf(a))
				}
			}
		}
		slices.Sort(lists[i])
		if err := d.Add(nidOf(i), auth); err != nil {
			t.Fatal(err)
		}
	}
	return d, lists
}

// nidOf numbers events so that their order says nothing.
func nidOf(i int) int64 { return int64(i*7919%1_000_003+1)<<8 | 5 }

// chain is all that an event refers to, over whatever steps, and itself.
func chain(lists [][]uint32, from uint32, into map[uint32]bool) {
	if !into[from] {
		into[from] = true
		for _, a := range lists[from] {
			chain(lists, a, into)
		}
	}
}

func TestAuthDAGFindsItsEvents(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	d, lists := randomDAG(t, r, 5000)
	for i, list := range lists {
		got, ok := d.index(nidOf(i))
		if !ok || got != uint32(i) {
			t.Fatalf("event %d is at %d, %v", i, got, ok)
		}
		if !slices.Equal(d.auth(got), list) {
			t.Fatalf("event %d refers to %v, and should to %v", i, d.auth(got), list)
		}
		if d.Has(nidOf(i) + 1) {
			t.Fatalf("an event is there that nobody added")
		}
	}
	before := d.Len()
	if err := d.Add(nidOf(7), nil); err != nil || d.Len() != before || len(d.auth(7)) != len(lists[7]) {
		t.Errorf("an event added again changed something: %v", err)
	}
	var missing *MissingAuth
	if err := d.Add(1, []int64{nidOf(3), 2}); !errors.As(err, &missing) || missing.NID != 2 || d.Has(1) {
		t.Errorf("an event without its auth events: %v", err)
	}
	if err := d.Add(1, []int64{nidOf(3)}); err != nil || !slices.Equal(d.auth(uint32(before)), []uint32{3}) {
		t.Errorf("an event after one that failed: %v", err)
	}
}

// TestAuthDifference holds the walk with bits to the words: chains, their union without their
// intersection; also with more sets than one word has bits.
func TestAuthDifference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		d, lists := randomDAG(t, r, 120)
		sets := 2 + r.IntN(4)
		if seed%10 == 0 {
			sets = 60 + r.IntN(80)
		}
		var agreed []Entry
		shared := map[uint32]bool{}
		for range r.IntN(4) {
			i := uint32(r.IntN(120))
			agreed = append(agreed, Entry{int64(i), nidOf(int(i))})
			chain(lists, i, shared)
		}
		own := make([][]uint32, sets)
		count := map[uint32]int{}
		for s := range own {
			for range r.IntN(4) {
				own[s] = append(own[s], uint32(r.IntN(120)))
			}
			in := map[uint32]bool{}
			for i := range shared {
				in[i] = true
			}
			for _, i := range own[s] {
				chain(lists, i, in)
			}
			for i := range in {
				count[i]++
			}
		}
		var want []uint32
		for i, n := range count {
			if n < sets {
				want = append(want, i)
			}
		}
		slices.Sort(want)
		got, err := d.differ(agreed, own, &work{left: 1 << 30})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d, %d sets: %v %v, wanted %v", seed, sets, got, err, want)
		}
	}
}

// TestConflictedSubgraph holds the two walks to the words: an event is on a way from an end to an end.
func TestConflictedSubgraph(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		d, lists := randomDAG(t, r, 100)
		var ends []uint32
		for range r.IntN(5) {
			ends = append(ends, uint32(r.IntN(100)))
		}
		slices.Sort(ends)
		ends = slices.Compact(ends)
		below := map[uint32]bool{}
		for _, i := range ends {
			chain(lists, i, below)
		}
		var want []uint32
		for i := range below {
			own := map[uint32]bool{}
			chain(lists, i, own)
			if slices.ContainsFunc(ends, func(e uint32) bool { return own[e] }) {
				want = append(want, i)
			}
		}
		slices.Sort(want)
		got, err := d.between(ends, &work{left: 1 << 30})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v %v, wanted %v", seed, got, err, want)
		}
	}
}
