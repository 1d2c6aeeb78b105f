package state

import "slices"

const (
	memberType = "m.room.member"
	// memberBit is set in the nids of members' tuples, which so stand last in every layer: what else a state
	// has is found without a look at its members, however many they are. Tuples that were interned before
	// this was so do not have it; they are found among the others.
	memberBit = 1 << 40
)

// IsMember says whether a tuple is surely a member's. Of old tuples that is not known: then it says no.
func IsMember(tuple int64) bool { return tuple&memberBit != 0 }

// WithoutMembers gives the entries that are not surely of members, sorted by tuple.
func (s *State) WithoutMembers() []Entry {
	if s == nil {
		return nil
	}
	all := withoutMembers(s.layers[len(s.layers)-1].delta)
	for _, l := range slices.Backward(s.layers[:len(s.layers)-1]) {
		all = merge(all, withoutMembers(l.delta), true)
	}
	return all
}

func withoutMembers(delta []Entry) []Entry {
	i, _ := slices.BinarySearchFunc(delta, memberBit, func(e Entry, t int64) int { return int(e.Tuple - t) })
	return delta[:i:i]
}
