package rules

import (
	"fmt"
	"math/bits"
	"slices"
)

// AuthDAG is which events refer to which as their permission, for the events of one room: what state
// resolution walks over, without the events themselves. It takes about 24 bytes an event, and is kept in
// memory for a room.
//
// An event is added after its auth events, so its index is also its rank: whoever goes from high indexes
// to low ones meets each event before what it refers to. Add may not run beside other methods; the
// others may.
type AuthDAG struct {
	nids  []int64
	lists []uint32 // by index: where the event's list of auth events stands in pool
	pool  []uint32 // lists of indexes, each behind its length; equal lists are often shared
	slots []uint32 // a hash table of nids: indexes, each one up; 0 for a free slot

	recent [16]uint32 // where the lists stand that were added last
	turn   int
}

// MissingAuth says that an event is not in the AuthDAG.
type MissingAuth struct{ NID int64 }

func (m *MissingAuth) Error() string { return fmt.Sprintf("the auth DAG has no event %d", m.NID) }

// Len is how many events there are.
func (d *AuthDAG) Len() int { return len(d.nids) }

// Bytes is how much memory the structure holds.
func (d *AuthDAG) Bytes() int { return cap(d.nids)*8 + (cap(d.lists)+cap(d.pool)+cap(d.slots))*4 }

// Has says whether an event is there.
func (d *AuthDAG) Has(nid int64) bool {
	_, ok := d.index(nid)
	return ok
}

// Add adds an event behind its auth events; *MissingAuth where one of these is not there. An event that
// is there already stays as it is.
func (d *AuthDAG) Add(nid int64, auth []int64) error {
	if d.Has(nid) {
		return nil
	}
	start := len(d.pool)
	d.pool = append(d.pool, uint32(len(auth)))
	for _, a := range auth {
		i, ok := d.index(a)
		if !ok {
			d.pool = d.pool[:start]
			return &MissingAuth{a}
		}
		d.pool = append(d.pool, i)
	}
	d.lists = append(d.lists, d.share(uint32(start)))
	d.nids = append(d.nids, nid)
	if len(d.nids)*5 > len(d.slots)*4 {
		d.grow()
	} else {
		d.place(uint32(len(d.nids)))
	}
	return nil
}

// share gives where the list that ends the pool stands already, if it was added lately.
func (d *AuthDAG) share(start uint32) uint32 {
	list := d.pool[start:]
	slices.Sort(list[1:])
	for _, r := range d.recent {
		if r < start && slices.Equal(d.pool[r:r+1+d.pool[r]], list) {
			d.pool = d.pool[:start]
			return r
		}
	}
	d.recent[d.turn] = start
	d.turn = (d.turn + 1) % len(d.recent)
	return start
}

// auth is the indexes that an event refers to.
func (d *AuthDAG) auth(i uint32) []uint32 {
	at := d.lists[i]
	return d.pool[at+1 : at+1+d.pool[at]]
}

func (d *AuthDAG) index(nid int64) (uint32, bool) {
	if len(d.slots) == 0 {
		return 0, false
	}
	for s := d.slot(nid); ; s++ {
		if s == len(d.slots) {
			s = 0
		}
		switch i := d.slots[s]; {
		case i == 0:
			return 0, false
		case d.nids[i-1] == nid:
			return i - 1, true
		}
	}
}

func (d *AuthDAG) slot(nid int64) int {
	s, _ := bits.Mul64(uint64(nid)*0x9e3779b97f4a7c15, uint64(len(d.slots)))
	return int(s)
}

// place puts an index, one up, into the table.
func (d *AuthDAG) place(i uint32) {
	s := d.slot(d.nids[i-1])
	for d.slots[s] != 0 {
		if s++; s == len(d.slots) {
			s = 0
		}
	}
	d.slots[s] = i
}

func (d *AuthDAG) grow() {
	d.slots = make([]uint32, len(d.slots)+len(d.slots)/2+16)
	for i := range d.nids {
		d.place(uint32(i + 1))
	}
}

// differ gives the auth difference: the indexes of the events that are in the auth chains of some of the
// state sets, but not of all. The chain of a set includes the set itself. Every set shares the agreed
// events and has its own besides.
//
// The walk goes through the events once, by falling rank, with a bit for each set.
//
// Spec: Room Versions 2 "State resolution", auth difference.
func (d *AuthDAG) differ(agreed []Entry, own [][]uint32, w *work) ([]uint32, error) {
	words := (len(own) + 63) / 64
	m := marks{words: words, bits: make([]uint64, len(d.nids)*words), full: make([]uint64, words)}
	for s := range own {
		m.full[s/64] |= 1 << (s % 64)
	}
	for s, events := range own {
		for _, i := range events {
			m.of(i)[s/64] |= 1 << (s % 64)
		}
	}
	for _, e := range agreed {
		i, ok := d.index(e.Event)
		if !ok {
			return nil, &MissingAuth{e.Event}
		}
		copy(m.of(i), m.full)
	}
	var found []uint32
	for i := len(d.nids) - 1; i >= 0; i-- {
		have := m.of(uint32(i))
		some, all := m.some(have)
		if !some {
			continue
		}
		if !all {
			found = append(found, uint32(i))
		}
		list := d.auth(uint32(i))
		if err := w.spend(len(list) + 1); err != nil {
			return nil, err
		}
		m.spread(have, list)
	}
	return found, nil
}

// marks are a bit for each state set, for each event.
type marks struct {
	words int
	bits  []uint64
	full  []uint64
}

func (m *marks) of(i uint32) []uint64 {
	at := int(i) * m.words
	return m.bits[at : at+m.words : at+m.words]
}

// spread gives the bits to others.
func (m *marks) spread(have []uint64, to []uint32) {
	if m.words == 1 {
		for _, i := range to {
			m.bits[i] |= have[0]
		}
		return
	}
	for _, i := range to {
		into := m.of(i)
		for k := range have {
			into[k] |= have[k]
		}
	}
}

func (m *marks) some(have []uint64) (some, all bool) {
	if m.words == 1 {
		return have[0] != 0, have[0] == m.full[0]
	}
	all = true
	for k, word := range have {
		some = some || word != 0
		all = all && word == m.full[k]
	}
	return some, all
}

// between gives the conflicted state subgraph: the events on all ways from one of these events to
// another, with both ends.
//
// Spec: Room Versions 12 "State resolution", conflicted state subgraph.
func (d *AuthDAG) between(ends []uint32, w *work) ([]uint32, error) {
	if len(ends) == 0 {
		return nil, nil
	}
	low, high := slices.Min(ends), slices.Max(ends)
	const isEnd, below = 1, 2 // below: an end, or one of the ends refers to it over others
	marks := make([]uint8, high-low+1)
	for _, i := range ends {
		marks[i-low] = isEnd | below
	}
	for i := high; i > low; i-- {
		if marks[i-low] == 0 {
			continue
		}
		list := d.auth(i)
		if err := w.spend(len(list) + 1); err != nil {
			return nil, err
		}
		for _, a := range list {
			if a >= low {
				marks[a-low] |= below
			}
		}
	}
	var found []uint32
	for i := low; i <= high; i++ {
		switch {
		case marks[i-low] == 0:
			continue
		case marks[i-low]&isEnd == 0 && !slices.ContainsFunc(d.auth(i), func(a uint32) bool { return a >= low && marks[a-low]&isEnd != 0 }):
			continue
		}
		marks[i-low] |= isEnd // from here on, whoever refers to it is on a way too
		found = append(found, i)
	}
	return found, nil
}

// Chain gives the events with all that they refer to, over others too: the auth events of each stand
// before it. Events that are not there are left out.
func (d *AuthDAG) Chain(nids []int64) []int64 { return d.listed(d.marked(nids, true)) }

// Behind is Chain without the events themselves, but for those that others of them refer to.
func (d *AuthDAG) Behind(nids []int64) []int64 { return d.listed(d.marked(nids, false)) }

// marked says by index which events belong to a chain.
func (d *AuthDAG) marked(nids []int64, themselves bool) []bool {
	reached := make([]bool, len(d.nids)) // is one of the events, or referred to
	wanted := reached
	if !themselves {
		wanted = make([]bool, len(d.nids))
	}
	high := -1
	for _, nid := range nids {
		if i, ok := d.index(nid); ok {
			reached[i] = true
			high = max(high, int(i))
		}
	}
	for i := high; i >= 0; i-- {
		if reached[i] {
			for _, a := range d.auth(uint32(i)) {
				reached[a], wanted[a] = true, true
			}
		}
	}
	return wanted
}

func (d *AuthDAG) listed(wanted []bool) []int64 {
	var chain []int64
	for i, w := range wanted {
		if w {
			chain = append(chain, d.nids[i])
		}
	}
	return chain
}
