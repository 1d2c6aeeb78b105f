package roomserver

import (
	"context"
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Known says whether this server has ever heard of a room.
func (r *Rooms) Known(ctx context.Context, id matrix.RoomID) (bool, error) {
	var ok bool
	err := r.db.View(ctx, func(tx *store.Tx) error {
		var err error
		_, ok, err = r.NID(tx, id)
		return err
	})
	return ok, err
}

// HasURL says whether the content has a url, as the filter contains_url asks.
func (e *Event) HasURL() bool {
	var content struct {
		URL *string `json:"url"`
	}
	return json.Unmarshal(e.Content(), &content) == nil && content.URL != nil
}

// SendersOf gives the present member events of those who sent events of a page.
//
// Spec: CS "Lazy-loading room members".
func (r *Rooms) SendersOf(ctx context.Context, v Viewer, id matrix.RoomID, events []*ClientEvent) ([]*ClientEvent, error) {
	var out []*ClientEvent
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, v.User, id)
		if err != nil {
			return err
		}
		st, err := r.states.Load(tx, a.Snap)
		if err != nil {
			return err
		}
		nids, err := r.sendersIn(tx, st, events)
		if err != nil {
			return err
		}
		out, err = r.RenderState(tx, v, nids)
		return err
	})
	return out, err
}

// sendersIn finds the member events that a state has of the senders of events.
func (r *Rooms) sendersIn(tx *store.Tx, st *state.State, events []*ClientEvent) ([]int64, error) {
	var nids []int64
	seen := make(map[matrix.UserID]bool)
	for _, e := range events {
		if seen[e.Sender()] {
			continue
		}
		seen[e.Sender()] = true
		tuple, ok, err := r.states.Tuple(tx, rules.StateKey{Type: "m.room.member", Key: string(e.Sender())})
		if err != nil {
			return nil, err
		}
		if nid, found := st.Event(tuple); ok && found {
			nids = append(nids, nid)
		}
	}
	return nids, nil
}

// StateOf shows the state of a room at the last event of some surroundings: all of it, or without the
// members that sent none of them.
func (r *Rooms) StateOf(ctx context.Context, v Viewer, s *Surroundings, lazy bool) ([]*ClientEvent, error) {
	var out []*ClientEvent
	err := r.db.View(ctx, func(tx *store.Tx) error {
		st, err := r.states.Load(tx, s.Snap)
		if err != nil {
			return err
		}
		nids := eventNIDs(st)
		if lazy {
			all := append(append([]*ClientEvent{s.Event}, s.Before...), s.After...)
			if nids, err = r.withoutMembers(tx, st, all); err != nil {
				return err
			}
		}
		out, err = r.RenderState(tx, v, nids)
		return err
	})
	return out, err
}

// withoutMembers is a state without members, but with those who sent the events.
func (r *Rooms) withoutMembers(tx *store.Tx, st *state.State, events []*ClientEvent) ([]int64, error) {
	entries := st.Entries()
	tuples := make([]int64, len(entries))
	for i, e := range entries {
		tuples[i] = e.Tuple
	}
	keys, err := r.states.Keys(tx, tuples)
	if err != nil {
		return nil, err
	}
	nids, err := r.sendersIn(tx, st, events)
	for _, e := range entries {
		if keys[e.Tuple].Type != "m.room.member" {
			nids = append(nids, e.Event)
		}
	}
	return nids, err
}
