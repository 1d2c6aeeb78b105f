package roomserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Told is a state of a room as another server is told it: the numbers of its events, and of all that they
// refer to as their permission. Rooms.Each gives the events behind them.
type Told struct{ State, AuthChain []int64 }

// StateBefore is the state of a room before one of its events. A server that asks must be in the room;
// empty is this one.
//
// Spec: SS GET /_matrix/federation/v1/state/{roomId}, /state_ids/{roomId}
func (r *Rooms) StateBefore(ctx context.Context, room matrix.RoomID, event matrix.EventID, asks matrix.ServerName) (*Told, error) {
	var h Head
	var st *state.State
	err := r.db.View(ctx, func(tx *store.Tx) error {
		var err error
		var e *Event
		if h, e, err = r.servedEvent(tx, room, event, asks); err != nil {
			return err
		}
		if !e.settled() {
			return matrix.NotFound("the state before the event %s is not known here", event)
		}
		st, err = r.states.Load(tx, e.SnapBefore)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.told(ctx, h.Room, eventNIDs(st))
}

// told adds the auth chain of a state to it.
func (r *Rooms) told(ctx context.Context, room RoomNID, nids []int64) (*Told, error) {
	chain, err := r.graphs.Behind(int64(room), nids, r.source(ctx, room, nil))
	if err != nil {
		return nil, fmt.Errorf("find the auth chain of a state of %d events: %w", len(nids), err)
	}
	return &Told{State: nids, AuthChain: chain}, nil
}

// AuthChain is all that an event refers to as its permission, over others too.
//
// Spec: SS GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}
func (r *Rooms) AuthChain(ctx context.Context, room matrix.RoomID, event matrix.EventID, asks matrix.ServerName) ([]int64, error) {
	var h Head
	var e *Event
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		h, e, err = r.servedEvent(tx, room, event, asks)
		return err
	})
	if err != nil {
		return nil, err
	}
	chain, err := r.graphs.Chain(int64(h.Room), e.AuthNIDs, r.source(ctx, h.Room, nil))
	if err != nil {
		return nil, fmt.Errorf("find the auth chain of %s: %w", event, err)
	}
	return chain, nil
}

// servedEvent finds an event for a server that is in the room. Rejected ones are nobody's business.
func (r *Rooms) servedEvent(tx *store.Tx, room matrix.RoomID, event matrix.EventID, asks matrix.ServerName) (Head, *Event, error) {
	if asks == "" {
		asks = r.server
	}
	h, err := r.headFor(tx, room, asks)
	if err == nil {
		err = r.admits(tx, h, asks)
	}
	if err != nil {
		return h, nil, err
	}
	e, err := r.eventByID(tx, h.Room, event)
	if err == nil && (e == nil || e.Status == statusRejected) {
		err = matrix.NotFound("there is no event %s in the room %s here", event, room)
	}
	return h, e, err
}

// EventFor is one event as another server is given it. It must be in the event's room.
//
// Spec: SS GET /_matrix/federation/v1/event/{eventId}
func (r *Rooms) EventFor(ctx context.Context, event matrix.EventID, asks matrix.ServerName) (*rules.Event, error) {
	var out *rules.Event
	err := r.db.View(ctx, func(tx *store.Tx) error {
		_, in, ok, err := eventNID(tx, event)
		if err != nil {
			return err
		}
		none := matrix.NotFound("there is no event %s here", event)
		if !ok {
			return none
		}
		heads, err := r.Heads(tx, []RoomNID{in})
		if err != nil {
			return err
		}
		h, e, err := r.servedEvent(tx, heads[in].ID, event, asks)
		if err != nil {
			return err
		}
		shown, err := r.serverSight(tx, h, asks).show(e)
		out = shown
		return err
	})
	return out, err
}

// eachMost bounds how many events are read at once for another server.
const eachMost = 500

// Each gives events in the order of their numbers, redacted ones in their redacted form. They are read in
// parts, so that those of a large room are never in memory at once.
func (r *Rooms) Each(ctx context.Context, nids []int64, fn func(*rules.Event) error) error {
	for len(nids) > 0 {
		part := nids[:min(len(nids), eachMost)]
		nids = nids[len(part):]
		var events map[int64]*Event
		err := r.db.View(ctx, func(tx *store.Tx) (err error) {
			events, err = r.Events(tx, part)
			return err
		})
		if err != nil {
			return err
		}
		for _, nid := range part {
			e, ok := events[nid]
			if !ok {
				return fmt.Errorf("event %d is not in the database", nid)
			}
			if err := fn(e.asTold()); err != nil {
				return err
			}
		}
	}
	return nil
}

// asTold is the event as other servers are told it.
func (e *Event) asTold() *rules.Event {
	if e.RedactedBy != 0 {
		return e.Redact()
	}
	return e.Event
}

// IDs gives the ids of events, in the order of their numbers.
func (r *Rooms) IDs(ctx context.Context, nids []int64) ([]matrix.EventID, error) {
	var ids map[int64]matrix.EventID
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		ids, err = readIDs(tx, nids)
		return err
	})
	out := make([]matrix.EventID, 0, len(nids))
	for _, nid := range nids {
		if id, ok := ids[nid]; ok {
			out = append(out, id)
		}
	}
	return out, err
}

// Ends are the extremities of a room.
func (r *Rooms) Ends(ctx context.Context, room matrix.RoomID) (v *rules.Version, ids []matrix.EventID, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		nid, err := r.known(tx, room)
		if err != nil {
			return err
		}
		rows, err := readHeads(tx, []int64{int64(nid)}, false)
		if err != nil || len(rows) == 0 {
			return errors.Join(err, ErrNotHere)
		}
		if v, err = version(rows[0].version); err != nil {
			return err
		}
		nids, err := decodeNIDs(nid.Shard(), rows[0].extremities)
		if err != nil {
			return err
		}
		found, err := readIDs(tx, nids)
		ids = slices.Sorted(maps.Values(found))
		return err
	})
	return v, ids, err
}

// Placed says which of some events have their place in the room's DAG here, with the state before them.
func (r *Rooms) Placed(ctx context.Context, room matrix.RoomID, ids []matrix.EventID) (map[matrix.EventID]bool, error) {
	placed := make(map[matrix.EventID]bool)
	err := r.db.View(ctx, func(tx *store.Tx) error {
		nid, err := r.known(tx, room)
		if err != nil {
			return err
		}
		events, err := r.eventsByID(tx, nid, ids)
		for _, e := range events {
			placed[e.ID()] = true
		}
		return err
	})
	return placed, err
}
