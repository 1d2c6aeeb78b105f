package roomserver

import (
	"context"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// outliersMost bounds how many outliers one wish keeps, so that those of a large room let others by.
const outliersMost = 200

// Unknown gives those of some ids of events that are not here, in their order.
func (r *Rooms) Unknown(ctx context.Context, room matrix.RoomID, ids []matrix.EventID) ([]matrix.EventID, error) {
	var out []matrix.EventID
	err := r.db.View(ctx, func(tx *store.Tx) error {
		nid, ok, err := r.NID(tx, room)
		if err != nil || !ok {
			out = ids
			return err
		}
		out = nil
		rows, err := readKnown(tx, slices.DeleteFunc(slices.Clone(ids), func(id matrix.EventID) bool { return !storable(string(id)) }))
		for _, id := range ids {
			if k := rows[id]; k.status == 0 || k.room != nid {
				out = append(out, id)
			}
		}
		return err
	})
	return out, err
}

// KeepOutliers keeps verified events of a room that are needed as auth events, or as parts of a state, in
// any order. Each is held against its auth events, and kept as rejected where they do not allow it. Events
// of other rooms, and those whose auth events are neither here nor among the others, are not kept.
//
// Spec: SS "Checks performed on receipt of a PDU", 4.
func (r *Rooms) KeepOutliers(ctx context.Context, room matrix.RoomID, events []*rules.Event) error {
	var nid RoomNID
	err := r.db.View(ctx, func(tx *store.Tx) error {
		h, ok, err := r.headByID(tx, room)
		if err == nil && !ok {
			err = ErrNotHere
		}
		nid = h.Room
		return err
	})
	if err != nil {
		return err
	}
	return r.keepOutliers(ctx, nid, room, events)
}

func (r *Rooms) keepOutliers(ctx context.Context, nid RoomNID, room matrix.RoomID, events []*rules.Event) error {
	sorted := byAuth(room, events)
	for len(sorted) > 0 {
		part := sorted[:min(len(sorted), outliersMost)]
		sorted = sorted[len(part):]
		err := r.commit(ctx, []RoomNID{nid}, func(b *batch) error {
			_, err := b.keepOutliers(nid, part)
			return err
		})
		if err != nil {
			return fmt.Errorf("keep %d outliers: %w", len(part), err)
		}
	}
	return nil
}

// byAuth sorts events so that each comes after its auth events, and drops those of other rooms. The create event
// comes first: from room version 12 all others refer to it without naming it.
func byAuth(room matrix.RoomID, events []*rules.Event) []*rules.Event {
	events = createFirst(events)
	byID := make(map[matrix.EventID]*rules.Event, len(events))
	for _, e := range events {
		if byID[e.ID()] == nil && e.RoomID() == room { // of one that comes twice the first
			byID[e.ID()] = e
		}
	}
	const begun, done = 1, 2 // begun: its auth events are gone through; one that refers to itself has no end
	state := make(map[*rules.Event]int, len(events))
	sorted := make([]*rules.Event, 0, len(byID))
	var open []*rules.Event
	for _, first := range events {
		open = append(open[:0], first)
		for len(open) > 0 {
			e := open[len(open)-1]
			if byID[e.ID()] != e || state[e] != 0 {
				open = open[:len(open)-1]
				if state[e] == begun {
					state[e] = done
					sorted = append(sorted, e)
				}
				continue
			}
			state[e] = begun
			for _, id := range e.Auth() {
				if a, ok := byID[id]; ok && state[a] == 0 {
					open = append(open, a)
				}
			}
		}
	}
	return sorted
}

// createFirst gives events with the create event at their head.
func createFirst(events []*rules.Event) []*rules.Event {
	i := slices.IndexFunc(events, func(e *rules.Event) bool { return e.IsState("m.room.create", "") })
	if i <= 0 {
		return events
	}
	return slices.Concat(events[i:i+1], events[:i], events[i+1:])
}

// keepOutliers stages outliers, of which each comes after its auth events, and gives what is known of them then.
func (b *batch) keepOutliers(room RoomNID, events []*rules.Event) (*names, error) {
	h, err := b.room(room)
	if err != nil {
		return nil, err
	}
	var ids []matrix.EventID
	for _, ev := range events {
		ids = append(append(ids, ev.ID()), ev.Auth()...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	in, err := b.look(room, ids)
	if err != nil {
		return nil, err
	}
	var cited []int64
	var keys []rules.StateKey
	for _, ev := range events {
		if in.of[ev.ID()].status != 0 {
			continue
		}
		for _, id := range ev.Auth() {
			if k, ok := in.here(id); ok {
				cited = append(cited, k.nid)
			}
		}
		if key, ok := ev.StateKey(); ok {
			keys = append(keys, rules.StateKey{Type: ev.Type(), Key: key})
		}
	}
	slices.Sort(cited)
	o := outliers{h: h, in: in}
	if o.found, err = b.held(slices.Compact(cited)); err != nil {
		return nil, fmt.Errorf("load auth events: %w", err)
	}
	if o.tuples, err = b.r.states.InternAll(b.ctx, b.tx, keys); err != nil {
		return nil, err
	}
	for _, ev := range events {
		if err := b.keepOutlier(&o, ev); err != nil {
			return nil, fmt.Errorf("keep %s: %w", ev.ID(), err)
		}
	}
	return in, nil
}

// outliers is what is known beside some that are staged.
type outliers struct {
	h      *head
	in     *names
	found  map[int64]*Event // by number: those that they refer to
	tuples map[rules.StateKey]int64
}

// keepOutlier stages one outlier, if it is new.
func (b *batch) keepOutlier(o *outliers, ev *rules.Event) error {
	if o.in.of[ev.ID()].status != 0 {
		return nil
	}
	var auth []*Event
	for _, id := range ev.Auth() {
		if a := o.found[o.in.of[id].nid]; a != nil {
			auth = append(auth, a)
		} else if !o.in.elsewhere(id) {
			return nil
		}
	}
	e := &Event{Event: ev, Room: o.h.nid, Status: statusOutlier}
	why, err := b.refusedByAuth(o.h, ev, auth)
	if err != nil {
		return err
	}
	if why != "" {
		e.Status = statusRejected
	}
	e.NID, err = o.in.claim(ev.ID(), func() (int64, error) { return b.r.newEvent(b.ctx, o.h.nid) })
	if err != nil {
		return err
	}
	e.follows(auth)
	if key, ok := ev.StateKey(); ok {
		e.Tuple = o.tuples[rules.StateKey{Type: ev.Type(), Key: key}]
	}
	o.in.of[ev.ID()] = known{e.NID, o.h.nid, e.Status, e.Tuple}
	o.found[e.NID] = e
	b.keep(e, why)
	return nil
}
