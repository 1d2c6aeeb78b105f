package roomserver

import (
	"container/heap"
	"context"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Walk asks for events of a room, from some back towards its beginning.
type Walk struct {
	Room     matrix.RoomID
	Asks     matrix.ServerName
	From     []matrix.EventID // where it begins
	With     bool             // these are wanted too
	Until    []matrix.EventID // at which it ends: they and what is before them is not wanted
	MinDepth int64
	Limit    int
}

// walkedMost bounds how many events are visited for one walk.
const walkedMost = 2000

// Earlier gives the events before some others, those nearest to them first. What the asking server may not
// see is given in redacted form: it needs it for the order of events.
//
// Spec: SS GET /_matrix/federation/v1/backfill/{roomId}, POST /get_missing_events/{roomId}
func (r *Rooms) Earlier(ctx context.Context, w Walk) ([]*rules.Event, error) {
	var out []*rules.Event
	err := r.db.View(ctx, func(tx *store.Tx) error {
		out = nil
		h, err := r.headFor(tx, w.Room, w.Asks)
		if err == nil {
			err = r.admits(tx, h, w.Asks)
		}
		if err != nil {
			return err
		}
		events, err := r.walk(tx, h, w)
		if err != nil {
			return err
		}
		look := r.serverSight(tx, h, w.Asks)
		for _, e := range events {
			shown, err := look.show(e)
			if err != nil {
				return err
			}
			out = append(out, shown)
		}
		return nil
	})
	return out, err
}

// walk visits the events by falling depth, as senders gave it: with an honest depth each comes after all
// that refer to it, with any other at least each once.
func (r *Rooms) walk(tx *store.Tx, h Head, w Walk) ([]*Event, error) {
	from, err := r.eventsByID(tx, h.Room, w.From)
	if err != nil {
		return nil, err
	}
	until, err := r.eventsByID(tx, h.Room, w.Until)
	if err != nil {
		return nil, err
	}
	seen := make(map[int64]bool)
	for _, e := range until {
		seen[e.NID] = true
	}
	var open byDepth
	enter := func(e *Event) {
		if !seen[e.NID] {
			seen[e.NID] = true
			heap.Push(&open, e)
		}
	}
	first := make(map[int64]bool, len(from))
	for _, e := range from {
		first[e.NID] = true
		enter(e)
	}
	var out []*Event
	for visited := 0; len(open) > 0 && len(out) < w.Limit && visited < walkedMost; visited++ {
		e := heap.Pop(&open).(*Event)
		wanted := (w.With || !first[e.NID]) && e.Depth() >= w.MinDepth
		if wanted && (e.Status == statusAccepted || e.Status == statusSoftFailed) {
			out = append(out, e)
		}
		before, err := r.Events(tx, e.PrevNIDs)
		if err != nil {
			return nil, err
		}
		for _, nid := range e.PrevNIDs {
			if p := before[nid]; p != nil && p.settled() {
				enter(p)
			}
		}
	}
	return out, nil
}

// eventsByID finds those of the events that are here and have their place.
func (r *Rooms) eventsByID(tx *store.Tx, room RoomNID, ids []matrix.EventID) ([]*Event, error) {
	rows, err := readKnown(tx, slices.DeleteFunc(slices.Clone(ids), func(id matrix.EventID) bool { return !storable(string(id)) }))
	if err != nil {
		return nil, err
	}
	var nids []int64
	for _, id := range ids {
		if k := rows[id]; k.status != 0 && k.room == room && !slices.Contains(nids, k.nid) {
			nids = append(nids, k.nid)
		}
	}
	found, err := r.Events(tx, nids)
	out := make([]*Event, 0, len(nids))
	for _, nid := range nids {
		if e := found[nid]; e != nil && e.settled() {
			out = append(out, e)
		}
	}
	return out, err
}

// byDepth is a heap of events, the deepest first.
type byDepth []*Event

func (b byDepth) Len() int { return len(b) }
func (b byDepth) Less(i, j int) bool {
	if b[i].Depth() != b[j].Depth() {
		return b[i].Depth() > b[j].Depth()
	}
	return b[i].NID > b[j].NID
}
func (b byDepth) Swap(i, j int) { b[i], b[j] = b[j], b[i] }

// Push is for the heap.
func (b *byDepth) Push(x any) { *b = append(*b, x.(*Event)) }

// Pop is for the heap.
func (b *byDepth) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}
