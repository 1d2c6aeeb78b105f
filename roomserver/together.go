package roomserver

import (
	"context"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Received is what became of one of several events. Where Err is none of the event's own faults, something has to be
// done before it can be received: it is to be received by itself.
type Received struct {
	Status Status
	Err    error
}

// ReceiveAll takes events of other servers into their rooms, as many in a commit as there are at hand; each comes after
// those of them that are before it. It asks nobody, and resolves no states.
func (r *Rooms) ReceiveAll(ctx context.Context, events []*rules.Event) []Received {
	out := make([]Received, len(events))
	wishes := make([]*wish, len(events))
	statuses := make([]Status, len(events)) // one whose end was not waited for is still the committer's
	rooms, err := r.numbers(ctx, events)
	for i, ev := range events {
		room, here := rooms[ev.RoomID()]
		switch {
		case err != nil:
			out[i].Err = err
			continue
		case !here:
			out[i].Err = ErrNotHere
			continue
		}
		c := &reception{r: r, ev: ev, room: room, hasty: true}
		w := c.wish(&statuses[i])
		if out[i].Err = r.submit(ctx, w); out[i].Err == nil {
			wishes[i] = w
		}
	}
	crowded := make(map[RoomNID]bool)
	for i, w := range wishes {
		if w == nil {
			continue
		}
		if out[i].Err = w.wait(ctx); out[i].Err != nil {
			continue
		}
		out[i].Status = statuses[i]
		if w.of.many {
			crowded[w.of.room] = true
		}
	}
	for room := range crowded {
		if err := r.merge(ctx, room, true); err != nil {
			r.log.Warn("the ends of a room were not brought together", "room", int64(room), "err", err)
		}
	}
	return out
}

// numbers finds the rooms of events.
func (r *Rooms) numbers(ctx context.Context, events []*rules.Event) (map[matrix.RoomID]RoomNID, error) {
	rooms := make(map[matrix.RoomID]RoomNID)
	err := r.db.View(ctx, func(tx *store.Tx) error {
		for _, ev := range events {
			if _, done := rooms[ev.RoomID()]; done {
				continue
			}
			nid, here, err := r.NID(tx, ev.RoomID())
			if err != nil {
				return fmt.Errorf("find the room of a received event: %w", err)
			}
			if here {
				rooms[ev.RoomID()] = nid
			}
		}
		return nil
	})
	return rooms, err
}

// wish is the taking of the event by the committer.
func (c *reception) wish(status *Status) *wish {
	return &wish{rooms: []RoomNID{c.room}, done: make(chan error, 1), of: c, ids: c.mentions(), fulfil: func(b *batch) error {
		var err error
		*status, err = c.take(b)
		return err
	}}
}

// prepared is what the database knows of the events that the wishes of a batch receive, as it was when the batch
// began: what these change is in the batch itself.
type prepared struct {
	ids     map[matrix.EventID]known // those that are not known too
	events  map[int64]*Event
	awaited map[matrix.EventID][]int64 // redactions that came before them
	inside  map[RoomNID]bool           // rooms that this server is in
}

// prepare looks up what the wishes ask for.
func (b *batch) prepare(wishes []*wish) error {
	b.before.inside = make(map[RoomNID]bool)
	var ids, targets []matrix.EventID
	var rooms []int64
	for _, w := range wishes {
		if w.of == nil || len(w.ids) == 0 {
			continue
		}
		rooms = append(rooms, int64(w.of.room))
		targets = append(targets, w.of.ev.ID())
		ids = append(ids, w.ids...)
		if !w.of.ev.Version().CreateInAuthEvents {
			ids = append(ids, createIDOf(w.of.ev.RoomID()))
		}
	}
	if len(targets) == 0 {
		return nil
	}
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(id matrix.EventID) bool { return !storable(string(id)) })
	found, err := readKnown(b.tx, ids)
	if err != nil {
		return err
	}
	var nids []int64
	b.before.ids = make(map[matrix.EventID]known, len(ids))
	for _, id := range ids {
		k := found[id]
		if b.before.ids[id] = k; k.status != 0 {
			nids = append(nids, k.nid)
		}
	}
	if b.before.events, err = b.r.held(b.tx, nids); err != nil {
		return err
	}
	b.before.awaited = make(map[matrix.EventID][]int64, len(targets))
	of := make(map[matrix.EventID]RoomNID, len(targets))
	for i, id := range targets {
		b.before.awaited[id], of[id] = nil, RoomNID(rooms[i])
	}
	slices.Sort(rooms)
	return awaitedIn(b.tx, slices.Compact(rooms), targets, func(room RoomNID, target matrix.EventID, by int64) {
		if of[target] == room {
			b.before.awaited[target] = append(b.before.awaited[target], by)
		}
	})
}

// inside says whether this server was in a room when the batch began.
func (b *batch) inside(room RoomNID) (bool, error) {
	if in, known := b.before.inside[room]; known {
		return in, nil
	}
	in, err := serverIn(b.tx, room, b.r.server)
	if err == nil {
		b.before.inside[room] = in
	}
	return in, err
}
