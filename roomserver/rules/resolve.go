package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Entry says which event holds a tuple, that is, an interned (type, state key).
type Entry struct{ Tuple, Event int64 }

// ErrBudget is given by a resolution that would cost more than it may.
var ErrBudget = errors.New("the state resolution costs too much")

// Source is where a resolution finds what is behind the numbers. Its functions are asked for many at
// once.
type Source struct {
	Auth *AuthDAG // has the events of the state sets and of their auth chains; not needed in version 1
	// Events gives events in the order of their nids, nil for one that was rejected.
	Events func(nids []int64) ([]*Event, error)
	// Tuples gives the numbers of tuples in the order of the keys, 0 for one that no event ever had.
	Tuples func(keys []StateKey) ([]int64, error)
}

// work is the budget of a resolution: events and references between them that may be visited.
type work struct{ left int }

func (w *work) spend(n int) error {
	if w.left -= n; w.left < 0 {
		return ErrBudget
	}
	return nil
}

// Resolve makes one state of several, by the algorithm of the room version. A state set is sorted by
// tuple, with one entry for each; so is the result. ErrBudget is given where more events and references
// would have to be visited than budget.
//
// Spec: Room Versions 1, 2 and 12 "State resolution".
func Resolve(v *Version, sets [][]Entry, src *Source, budget int) ([]Entry, error) {
	w := &work{left: budget}
	agreed, conflicts, err := split(sets, w)
	if err != nil {
		return nil, err
	}
	if len(conflicts) == 0 {
		return agreed, nil
	}
	r := &resolution{v: v, src: src, work: w, events: map[int64]*Event{}, state: map[StateKey]held{}}
	if v.Resolution == ResolutionV1 {
		return r.resolveV1(agreed, conflicts)
	}
	return r.resolveV2(agreed, conflicts, len(sets))
}

// conflict is a tuple in which the state sets differ: by set the event, 0 for none.
type conflict struct {
	tuple  int64
	events []int64
}

// distinct are the events of the conflict, each once.
func (c conflict) distinct() []int64 {
	events := slices.Clone(c.events)
	slices.Sort(events)
	events = slices.Compact(events)
	if events[0] == 0 {
		events = events[1:]
	}
	return events
}

// split parts the state in which all sets agree from the conflicts. A tuple that some set does not have
// is a conflict too.
func split(sets [][]Entry, w *work) (agreed []Entry, conflicts []conflict, err error) {
	if len(sets) == 0 {
		return nil, nil, nil
	}
	agreed = make([]Entry, 0, len(sets[0])+16)
	heads := slices.Clone(sets)
	for {
		n := common(heads)
		if err := w.spend(n + 1); err != nil {
			return nil, nil, err
		}
		agreed = append(agreed, heads[0][:n]...)
		lowest, open := int64(0), false
		for i, h := range heads {
			heads[i] = h[n:]
			if h = heads[i]; len(h) > 0 && (!open || h[0].Tuple < lowest) {
				lowest, open = h[0].Tuple, true
			}
		}
		if !open {
			return agreed, conflicts, nil
		}
		conflicts = append(conflicts, take(heads, lowest))
	}
}

// common is how many entries all heads begin with alike.
func common(heads [][]Entry) int {
	first := heads[0]
	for _, h := range heads[1:] {
		first = first[:min(len(first), len(h))]
		for i := range first {
			if first[i] != h[i] {
				first = first[:i]
				break
			}
		}
	}
	return len(first)
}

// take takes a conflict off the heads.
func take(heads [][]Entry, tuple int64) conflict {
	c := conflict{tuple: tuple, events: make([]int64, len(heads))}
	for i, h := range heads {
		if len(h) > 0 && h[0].Tuple == tuple {
			c.events[i], heads[i] = h[0].Event, h[1:]
		}
	}
	return c
}

// resolution is what both algorithms keep.
type resolution struct {
	v    *Version
	src  *Source
	work *work

	events map[int64]*Event // what was loaded
	tuples map[StateKey]int64
	create *Event
	// state is the partially resolved state, so far as anything looks at it.
	state map[StateKey]held
}

// held is an event that holds a place in a state.
type held struct {
	e   *Event
	nid int64
}

// known says whether an event was loaded, or looked for.
func (r *resolution) known(nid int64) bool {
	_, known := r.events[nid]
	return known
}

// load makes sure that the events are at hand.
func (r *resolution) load(nids []int64) error {
	var wanted []int64
	for _, nid := range nids {
		if !r.known(nid) {
			r.events[nid] = nil
			wanted = append(wanted, nid)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := r.work.spend(len(wanted)); err != nil {
		return err
	}
	found, err := r.src.Events(wanted)
	if err != nil {
		return fmt.Errorf("load events to resolve state: %w", err)
	}
	if len(found) != len(wanted) {
		return fmt.Errorf("load events to resolve state: %d for %d", len(found), len(wanted))
	}
	for i, nid := range wanted {
		r.events[nid] = found[i]
	}
	return nil
}

// prepare names the tuples that the rules will look at for these events, and puts the agreed state into
// those places.
func (r *resolution) prepare(events []*Event, agreed []Entry) error {
	r.tuples = make(map[StateKey]int64, 2*len(events))
	keys := []StateKey{{Type: "m.room.create"}}
	r.tuples[keys[0]] = 0
	var room [8]StateKey
	for _, e := range events {
		own, _ := e.StateKey()
		for _, k := range append(e.authTypes(room[:0]), StateKey{e.typ, own}) {
			if _, known := r.tuples[k]; !known {
				r.tuples[k] = 0
				keys = append(keys, k)
			}
		}
	}
	if err := r.work.spend(len(keys)); err != nil {
		return err
	}
	tuples, err := r.src.Tuples(keys)
	if err != nil {
		return fmt.Errorf("name tuples to resolve state: %w", err)
	}
	if len(tuples) != len(keys) {
		return fmt.Errorf("name tuples to resolve state: %d for %d", len(tuples), len(keys))
	}
	var nids []int64
	holds := map[StateKey]int64{}
	for i, k := range keys {
		r.tuples[k] = tuples[i]
		if nid, ok := holder(agreed, tuples[i]); ok {
			holds[k] = nid
			nids = append(nids, nid)
		}
	}
	if err := r.load(nids); err != nil {
		return err
	}
	for k, nid := range holds {
		if e := r.events[nid]; e != nil {
			r.state[k] = held{e, nid}
		}
	}
	r.create = r.state[StateKey{Type: "m.room.create"}].e
	return nil
}

func holder(state []Entry, tuple int64) (int64, bool) {
	i, ok := slices.BinarySearchFunc(state, tuple, func(e Entry, t int64) int { return cmp.Compare(e.Tuple, t) })
	if !ok {
		return 0, false
	}
	return state[i].Event, true
}

// join lays the resolved entries between the agreed ones, which win. It may use the memory of both.
func join(agreed, resolved []Entry) []Entry {
	slices.SortFunc(resolved, func(a, b Entry) int { return cmp.Compare(a.Tuple, b.Tuple) })
	resolved = slices.DeleteFunc(resolved, func(r Entry) bool {
		_, taken := holder(agreed, r.Tuple)
		return taken
	})
	i, k := len(agreed)-1, len(resolved)-1
	out := append(agreed, resolved...) // of which only the length counts
	for at := len(out) - 1; k >= 0; at-- {
		if i >= 0 && agreed[i].Tuple > resolved[k].Tuple {
			out[at] = out[i]
			i--
		} else {
			out[at] = resolved[k]
			k--
		}
	}
	return out
}
