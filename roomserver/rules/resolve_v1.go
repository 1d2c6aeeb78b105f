package rules

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"maps"
	"slices"
)

// resolveV1 is the algorithm of room version 1: it looks at the state sets alone.
//
// Spec: Room Versions 1 "State resolution".
func (r *resolution) resolveV1(agreed []Entry, conflicts []conflict) ([]Entry, error) {
	// In this version a tuple that some set does not have is no conflict.
	var contested []conflict
	var alone []Entry
	var nids []int64
	for _, c := range conflicts {
		if events := c.distinct(); len(events) == 1 {
			alone = append(alone, Entry{c.tuple, events[0]})
		} else {
			contested = append(contested, conflict{c.tuple, events})
			nids = append(nids, events...)
		}
	}
	agreed = join(agreed, alone)
	if err := r.load(nids); err != nil {
		return nil, err
	}
	fights := r.fights(contested)
	var all []*Event
	for _, f := range fights {
		for _, c := range f.candidates {
			all = append(all, c.e)
		}
	}
	if err := r.prepare(all, agreed); err != nil {
		return nil, err
	}
	resolved := make([]Entry, 0, len(fights))
	for len(fights) > 0 {
		// Members are settled beside each other: none of the fights sees how another one ends.
		same := slices.IndexFunc(fights, func(f fight) bool { return f.turn() != fights[0].turn() })
		if same < 0 {
			same = len(fights)
		}
		won := make(map[StateKey]held, same)
		for _, f := range fights[:same] {
			won[f.key] = f.settle(r)
			resolved = append(resolved, Entry{f.tuple, won[f.key].nid})
		}
		maps.Copy(r.state, won)
		fights = fights[same:]
	}
	return join(agreed, resolved), nil
}

// fight is a conflict with its events at hand, lowest depth first, then highest hash.
type fight struct {
	tuple      int64
	key        StateKey
	candidates []candidate
}

type candidate struct {
	held
	hash [sha1.Size]byte // of the event's id
}

// fights gives the conflicts in the order in which they are settled: power levels, join rules, members,
// all others.
func (r *resolution) fights(contested []conflict) []fight {
	var fights []fight
	for _, c := range contested {
		f := fight{tuple: c.tuple}
		for _, nid := range c.events {
			if e := r.events[nid]; e != nil {
				f.candidates = append(f.candidates, candidate{held{e, nid}, sha1.Sum([]byte(e.id))})
				f.key = StateKey{e.typ, e.key}
			}
		}
		if len(f.candidates) == 0 {
			continue
		}
		slices.SortFunc(f.candidates, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.e.depth, b.e.depth), bytes.Compare(b.hash[:], a.hash[:]))
		})
		fights = append(fights, f)
	}
	slices.SortFunc(fights, func(a, b fight) int {
		return cmp.Or(cmp.Compare(a.turn(), b.turn()), cmp.Compare(a.key.Key, b.key.Key), cmp.Compare(a.key.Type, b.key.Type))
	})
	return fights
}

func (f *fight) turn() int {
	switch f.key.Type {
	case "m.room.power_levels":
		return 0
	case "m.room.join_rules":
		return 1
	case "m.room.member":
		return 2
	}
	return 3
}

// settle chooses the event that stays. Of those that decide over others each must be allowed by the one
// before it; of all others the newest wins that the state allows.
func (f *fight) settle(r *resolution) held {
	if f.turn() == 3 {
		for _, c := range slices.Backward(f.candidates) {
			if Authorize(c.e, r.lookup) == nil {
				return c.held
			}
		}
		return f.candidates[0].held
	}
	won := f.candidates[0].held
	for _, c := range f.candidates[1:] {
		r.state[f.key] = won
		if Authorize(c.e, r.lookup) != nil {
			break
		}
		won = c.held
	}
	delete(r.state, f.key)
	return won
}

// lookup finds an event of the partially resolved state.
func (r *resolution) lookup(tp, key string) *Event { return r.state[StateKey{tp, key}].e }
