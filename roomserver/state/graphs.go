package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"astrocyte/lru"
	"astrocyte/roomserver/rules"
)

// Source is where a resolution finds what it needs of a room.
type Source struct {
	// Links gives which auth events some events refer to, in any order.
	Links func(nids []int64) ([]Link, error)
	// Events and Tuples are as in rules.Source.
	Events func(nids []int64) ([]*rules.Event, error)
	Tuples func(keys []rules.StateKey) ([]int64, error)
}

// Link says which auth events an event refers to.
type Link struct {
	NID  int64
	Rank int64 // above that of all its auth events
	Auth []int64
}

// Graphs are the auth DAGs of rooms, as far as they were needed lately. What is in one never changes, and
// what it lacks is added when it is asked for, so that it needs no news of other nodes.
type Graphs struct {
	rooms *lru.Cache[int64, *graph]
	mu    sync.Mutex // of making one
}

type graph struct {
	mu  sync.Mutex
	dag *rules.AuthDAG
}

// NewGraphs makes the graphs of rooms, which hold up to memory bytes.
func NewGraphs(memory int64) *Graphs { return &Graphs{rooms: lru.New[int64, *graph](memory)} }

// Resolve makes one state of several of a room.
func (g *Graphs) Resolve(v *rules.Version, room int64, sets [][]Entry, src *Source, budget int) ([]Entry, error) {
	var got []Entry
	err := g.with(room, func(dag *rules.AuthDAG) error {
		if v.Resolution != rules.ResolutionV1 {
			if err := grow(dag, members(sets), src); err != nil {
				return err
			}
		}
		var err error
		got, err = rules.Resolve(v, sets, &rules.Source{Auth: dag, Events: src.Events, Tuples: src.Tuples}, budget)
		return err
	})
	return got, err
}

// Chain gives the events with all that they refer to as their permission, over others too. Its order is
// that of the references: each event comes after its auth events.
func (g *Graphs) Chain(room int64, nids []int64, src *Source) ([]int64, error) {
	return g.walk(room, nids, src, (*rules.AuthDAG).Chain)
}

// Behind is Chain without the events themselves, but for those that others of them refer to.
func (g *Graphs) Behind(room int64, nids []int64, src *Source) ([]int64, error) {
	return g.walk(room, nids, src, (*rules.AuthDAG).Behind)
}

func (g *Graphs) walk(room int64, nids []int64, src *Source, of func(*rules.AuthDAG, []int64) []int64) ([]int64, error) {
	var chain []int64
	err := g.with(room, func(dag *rules.AuthDAG) error {
		err := grow(dag, nids, src)
		if err == nil {
			chain = of(dag, nids)
		}
		return err
	})
	return chain, err
}

// with lends the graph of a room.
func (g *Graphs) with(room int64, fn func(dag *rules.AuthDAG) error) error {
	g.mu.Lock()
	gr, ok := g.rooms.Get(room)
	if !ok {
		gr = &graph{dag: &rules.AuthDAG{}}
		g.rooms.Put(room, gr, 200)
	}
	g.mu.Unlock()
	gr.mu.Lock()
	defer gr.mu.Unlock()
	err := fn(gr.dag)
	g.rooms.Put(room, gr, int64(gr.dag.Bytes())+200)
	return err
}

// members are the events of the sets, each once.
func members(sets [][]Entry) []int64 {
	var nids []int64
	for i, set := range sets {
		for k, e := range set {
			if i == 0 || k >= len(sets[0]) || sets[0][k] != e { // sets mostly begin alike
				nids = append(nids, e.Event)
			}
		}
	}
	slices.Sort(nids)
	return slices.Compact(nids)
}

// growMost bounds how many links are asked for at once.
const growMost = 8192

var errNoLink = errors.New("an auth event is not stored")

// grow adds events to a graph, with all that they refer to.
func grow(dag *rules.AuthDAG, nids []int64, src *Source) error {
	asked := make(map[int64]bool)
	var open []int64
	want := func(nid int64) {
		if !asked[nid] && !dag.Has(nid) {
			asked[nid] = true
			open = append(open, nid)
		}
	}
	for _, nid := range nids {
		want(nid)
	}
	var found []Link
	for len(open) > 0 {
		now := open[:min(len(open), growMost)]
		open = open[len(now):]
		links, err := src.Links(now)
		if err != nil {
			return fmt.Errorf("read auth events: %w", err)
		}
		if len(links) != len(now) {
			return fmt.Errorf("read auth events: %w", errNoLink)
		}
		for _, l := range links {
			found = append(found, l)
			for _, a := range l.Auth {
				want(a)
			}
		}
	}
	slices.SortFunc(found, func(a, b Link) int { return cmp.Compare(a.Rank, b.Rank) })
	for _, l := range found {
		if err := dag.Add(l.NID, l.Auth); err != nil {
			return err
		}
	}
	return nil
}
