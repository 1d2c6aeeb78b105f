// Package state keeps the states of rooms: snapshots as anchored, cumulative deltas, and state
// resolution with its inputs loaded.
//
// A snapshot is a row that holds its anchor, which is another snapshot, and all entries in which the
// state differs from the anchor's. A delta grows to 32 entries against its anchor; then it is written
// against the anchor's anchor, up to 512 entries, then 8,192, and then the whole state is written. So
// a state of any size and history is at most four rows, and a change of one entry writes some hundred
// bytes.
//
// Invariants:
//   - a snapshot never changes, so what is cached under its nid is never stale;
//   - the levels of a state's layers rise strictly, and the last one is whole;
//   - within a layer entries are sorted by tuple, one for each.
package state

import (
	"cmp"
	"slices"

	"astrocyte/roomserver/rules"
)

// Entry says which event holds a tuple, that is, an interned (type, state key).
type Entry = rules.Entry

// whole is the level of a snapshot without an anchor. Below it, levelMost bounds the delta.
const whole = 3

var levelMost = [whole]int{32, 512, 8192}

// removed stands for the event of a tuple that a layer takes away from those below it.
const removed = 0

// A layer is one snapshot row.
type layer struct {
	nid    int64
	anchor int64
	level  int
	delta  []Entry
}

// State is the state of a room at some point: immutable, and shared between goroutines. The nil State
// is empty.
type State struct {
	layers []*layer // the smallest first
}

// NID is the nid of the snapshot, 0 for the empty state.
func (s *State) NID() int64 {
	if s == nil {
		return 0
	}
	return s.layers[0].nid
}

// Event finds the event that holds a tuple.
func (s *State) Event(tuple int64) (event int64, ok bool) {
	if s == nil {
		return 0, false
	}
	for _, l := range s.layers {
		if event, ok := find(l.delta, tuple); ok {
			return event, event != removed
		}
	}
	return 0, false
}

func find(delta []Entry, tuple int64) (event int64, ok bool) {
	i, ok := slices.BinarySearchFunc(delta, tuple, func(e Entry, t int64) int { return cmp.Compare(e.Tuple, t) })
	if !ok {
		return 0, false
	}
	return delta[i].Event, true
}

// Entries gives the whole state, sorted by tuple. The caller may keep it, but not change it.
func (s *State) Entries() []Entry {
	if s == nil {
		return nil
	}
	all := s.layers[len(s.layers)-1].delta
	for _, l := range slices.Backward(s.layers[:len(s.layers)-1]) {
		all = merge(all, l.delta, true)
	}
	return all
}

// merge lays over upon below. Where the result is whole, removed tuples are left out; where it is a
// delta, they stay in it.
func merge(below, over []Entry, whole bool) []Entry {
	out := make([]Entry, 0, len(below)+len(over))
	add := func(e Entry) {
		if e.Event != removed || !whole {
			out = append(out, e)
		}
	}
	for len(below) > 0 && len(over) > 0 {
		switch {
		case below[0].Tuple < over[0].Tuple:
			out = append(out, below[0])
			below = below[1:]
		case below[0].Tuple > over[0].Tuple:
			add(over[0])
			over = over[1:]
		default:
			add(over[0])
			below, over = below[1:], over[1:]
		}
	}
	out = append(out, below...)
	for _, e := range over {
		add(e)
	}
	return out
}

// apply makes the state that follows from s by changes, which are sorted by tuple and not empty. The
// first layer of the result is new.
func (s *State) apply(changes []Entry, nid int64) *State {
	if s == nil {
		return &State{[]*layer{{nid: nid, level: whole, delta: merge(nil, changes, true)}}}
	}
	delta, rest := changes, s.layers
	for level := range whole {
		if rest[0].level == level {
			delta, rest = merge(rest[0].delta, delta, false), rest[1:]
		}
		if len(delta) <= levelMost[level] {
			l := &layer{nid: nid, anchor: rest[0].nid, level: level, delta: delta}
			return &State{append([]*layer{l}, rest...)}
		}
	}
	return &State{[]*layer{{nid: nid, level: whole, delta: merge(rest[0].delta, delta, true)}}}
}

// Difference is a tuple in which two states differ. An event of 0 means that the tuple is not set.
type Difference struct {
	Tuple    int64
	Old, New int64
}

// Diff tells in what two states of one room differ, sorted by tuple. It reads only the layers that they
// do not share.
func Diff(old, young *State) []Difference {
	if old.NID() == young.NID() {
		return nil
	}
	var out []Difference
	for _, tuple := range unshared(old, young) {
		was, _ := old.Event(tuple)
		is, _ := young.Event(tuple)
		if was != is {
			out = append(out, Difference{tuple, was, is})
		}
	}
	return out
}

// Changes tells what has to be changed to come from one whole state to another: entries as apply takes
// them.
func Changes(old, young []Entry) []Entry {
	var out []Entry
	for len(old) > 0 || len(young) > 0 {
		switch {
		case len(young) == 0 || len(old) > 0 && old[0].Tuple < young[0].Tuple:
			out = append(out, Entry{Tuple: old[0].Tuple, Event: removed})
			old = old[1:]
		case len(old) == 0 || young[0].Tuple < old[0].Tuple:
			out = append(out, young[0])
			young = young[1:]
		default:
			if old[0] != young[0] {
				out = append(out, young[0])
			}
			old, young = old[1:], young[1:]
		}
	}
	return out
}

// Lost lists the tuples that one of some whole states has, and the one made of them has not.
func Lost(sets [][]Entry, made []Entry) []int64 {
	var lost []int64
	for _, set := range sets {
		for _, c := range Changes(set, made) {
			if c.Event == removed {
				lost = append(lost, c.Tuple)
			}
		}
	}
	slices.Sort(lost)
	return slices.Compact(lost)
}

// unshared lists the tuples in the layers that only one of two states has, sorted.
func unshared(a, b *State) []int64 {
	var tuples []int64
	add := func(s, other *State) {
		if s == nil {
			return
		}
		for _, l := range s.layers {
			if other != nil && slices.ContainsFunc(other.layers, func(o *layer) bool { return o.nid == l.nid }) {
				return // from here on the anchors are the same
			}
			for _, e := range l.delta {
				tuples = append(tuples, e.Tuple)
			}
		}
	}
	add(a, b)
	add(b, a)
	slices.Sort(tuples)
	return slices.Compact(tuples)
}
