package roomserver

import (
	"context"
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Walk reads up to limit events of all timelines that follow a place in the order of shard, room and seq.
func (r *Rooms) Walk(tx *store.Tx, after Passed, limit int) ([]Passed, error) {
	passed, err := walkTimelines(tx, after, limit)
	if err != nil {
		return nil, err
	}
	return passed, r.fill(tx, passed)
}

// Items finds the places of events in their timelines. Those without one are left out.
func (r *Rooms) Items(tx *store.Tx, nids []int64) (map[int64]Item, error) {
	return readItems(tx, nids)
}

// StateNow finds the event that holds a (type, state key) in the current state of a room, nil if none does.
func (r *Rooms) StateNow(tx *store.Tx, room RoomNID, tp, key string) (*Event, error) {
	heads, err := r.Heads(tx, []RoomNID{room})
	if err != nil {
		return nil, err
	}
	st, err := r.states.Load(tx, heads[room].Snap)
	if err != nil {
		return nil, err
	}
	return r.StateEvent(tx, st, tp, key)
}

// Open says whether anybody may join a room, or the world may read its history.
func (r *Rooms) Open(tx *store.Tx, room RoomNID) (bool, error) {
	jr, err := r.StateNow(tx, room, "m.room.join_rules", "")
	if err != nil || jr != nil && jr.JoinRules().Rule == "public" {
		return jr != nil, err
	}
	hv, err := r.StateNow(tx, room, "m.room.history_visibility", "")
	return hv != nil && hv.HistoryVisibility() == "world_readable", err
}

// Predecessor is the room that a room has replaced, empty where there is none.
//
// Spec: CS m.room.create (predecessor).
func (r *Rooms) Predecessor(tx *store.Tx, room RoomNID) (matrix.RoomID, error) {
	create, err := r.StateNow(tx, room, "m.room.create", "")
	if err != nil || create == nil {
		return "", err
	}
	var content struct {
		Predecessor struct {
			RoomID matrix.RoomID `json:"room_id"`
		} `json:"predecessor"`
	}
	if json.Unmarshal(create.Content(), &content) != nil {
		return "", nil // a create event that says something else names none
	}
	return content.Predecessor.RoomID, nil
}

// Successor is the room that has replaced a room, by the tombstone of that; empty where there is none, or the room is not
// known here.
//
// Spec: CS m.room.tombstone.
func (r *Rooms) Successor(tx *store.Tx, room matrix.RoomID) (matrix.RoomID, error) {
	nid, known, err := r.NID(tx, room)
	if err != nil || !known {
		return "", err
	}
	tombstone, err := r.StateNow(tx, nid, "m.room.tombstone", "")
	if err != nil || tombstone == nil {
		return "", err
	}
	var content struct {
		Replacement matrix.RoomID `json:"replacement_room"`
	}
	if json.Unmarshal(tombstone.Content(), &content) != nil {
		return "", nil
	}
	return content.Replacement, nil
}

// ProfilesAt tells the profiles that the senders of some surroundings had then.
func (r *Rooms) ProfilesAt(ctx context.Context, s *Surroundings) (map[matrix.UserID]Profile, error) {
	out := make(map[matrix.UserID]Profile)
	err := r.db.View(ctx, func(tx *store.Tx) error {
		st, err := r.states.Load(tx, s.Snap)
		if err != nil {
			return err
		}
		for _, e := range append(append([]*ClientEvent{s.Event}, s.Before...), s.After...) {
			if _, known := out[e.Sender()]; known {
				continue
			}
			member, err := r.StateEvent(tx, st, "m.room.member", string(e.Sender()))
			if err != nil {
				return err
			}
			if member != nil {
				out[e.Sender()] = profileIn(member)
			}
		}
		return nil
	})
	return out, err
}
