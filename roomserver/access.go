package roomserver

import (
	"context"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Access is what a user may read of a room: its state at a point, and the timeline up to there. Which
// events of the timeline they may see is decided event by event.
type Access struct {
	Room RoomNID
	Head Head
	Snap int64 // the state that the user may read
	Seq  int64 // the newest place of the timeline that the user may read
	Now  matrix.Membership
}

// Access finds what a user may read: members the room as it is, those who left or were banned the room
// as it was then, and anybody a room whose history the world may read.
//
// Spec: CS "Room history visibility", GET /rooms/{roomId}/state.
func (r *Rooms) Access(tx *store.Tx, user matrix.UserID, id matrix.RoomID) (Access, error) {
	refused := matrix.Forbidden("you are not in the room %s, and may not read it", id)
	nid, ok, err := r.NID(tx, id)
	if err != nil {
		return Access{}, err
	}
	if !ok {
		return Access{}, refused
	}
	heads, err := r.Heads(tx, []RoomNID{nid})
	if err != nil {
		return Access{}, fmt.Errorf("read the head of room %s: %w", id, err)
	}
	h, ok := heads[nid]
	if !ok {
		return Access{}, refused
	}
	a := Access{Room: nid, Head: h, Snap: h.Snap, Seq: h.Seq, Now: matrix.Leave}
	if user == Overseer {
		return a, nil
	}
	ur, ok, err := r.UserRoom(tx, user, nid)
	if err != nil {
		return Access{}, err
	}
	if ok {
		a.Now = ur.Membership
	}
	if a.Now == matrix.Join {
		return a, nil
	}
	st, err := r.states.Load(tx, h.Snap)
	if err != nil {
		return Access{}, err
	}
	if hv, err := r.StateEvent(tx, st, "m.room.history_visibility", ""); err != nil {
		return Access{}, err
	} else if hv != nil && hv.HistoryVisibility() == "world_readable" {
		return a, nil
	}
	if ok && !ur.Forgotten && ur.Seq != 0 {
		return r.pastAccess(tx, a, ur, refused)
	}
	return Access{}, refused
}

// pastAccess is what those may read who left or were banned: the room as it was then.
func (r *Rooms) pastAccess(tx *store.Tx, a Access, ur UserRoom, refused error) (Access, error) {
	if ur.Membership != matrix.Leave && ur.Membership != matrix.Ban {
		return Access{}, refused
	}
	it, ok, err := r.departure(tx, ur)
	if err != nil {
		return Access{}, err
	}
	if !ok {
		return Access{}, refused
	}
	a.Snap, a.Seq = it.Snap, it.Seq
	return a, nil
}

// Readable refuses a user who may not read a room.
func (r *Rooms) Readable(ctx context.Context, user matrix.UserID, id matrix.RoomID) error {
	return r.db.View(ctx, func(tx *store.Tx) error {
		_, err := r.Access(tx, user, id)
		return err
	})
}

// CurrentState shows a user the whole state of a room that they may read.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/state
func (r *Rooms) CurrentState(ctx context.Context, v Viewer, id matrix.RoomID) ([]*ClientEvent, error) {
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
		out, err = r.RenderState(tx, v, eventNIDs(st))
		return err
	})
	return out, err
}

func eventNIDs(st *state.State) []int64 {
	entries := st.Entries()
	nids := make([]int64, len(entries))
	for i, e := range entries {
		nids[i] = e.Event
	}
	return nids
}

// CurrentStateEvent shows a user one state event of a room that they may read.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}
func (r *Rooms) CurrentStateEvent(ctx context.Context, v Viewer, id matrix.RoomID, tp, key string) (*ClientEvent, error) {
	var out *ClientEvent
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, v.User, id)
		if err != nil {
			return err
		}
		st, err := r.states.Load(tx, a.Snap)
		if err != nil {
			return err
		}
		e, err := r.StateEvent(tx, st, tp, key)
		if err != nil {
			return err
		}
		if e == nil {
			return matrix.NotFound("the room has no state event of type %s with that state key", tp)
		}
		shown, err := r.RenderState(tx, v, []int64{e.NID})
		if err == nil {
			out = shown[0]
		}
		return err
	})
	return out, err
}

// Event shows a user one event that they may see. Who may not read the room is not told whether the
// event exists.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}
func (r *Rooms) Event(ctx context.Context, v Viewer, id matrix.RoomID, event matrix.EventID) (*ClientEvent, error) {
	var out *ClientEvent
	err := r.db.View(ctx, func(tx *store.Tx) error {
		var err error
		_, _, out, err = r.visibleEvent(tx, v, id, event)
		return notTold(err, event)
	})
	return out, err
}

// EventAnywhere shows a user one event of whatever room, if they may see it.
//
// Spec: GET /_matrix/client/v3/events/{eventId}
func (r *Rooms) EventAnywhere(ctx context.Context, v Viewer, event matrix.EventID) (out *ClientEvent, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		_, room, _, err := eventNID(tx, event)
		if err != nil {
			return err
		}
		heads, err := r.Heads(tx, []RoomNID{room})
		if err != nil {
			return err
		}
		_, _, out, err = r.visibleEvent(tx, v, heads[room].ID, event) // of no room, where there is no such event
		return notTold(err, event)
	})
	return out, err
}

// visibleEvent finds an event in a room that the viewer may read, or tells that there is none: who may
// not see an event is not told that it exists.
func (r *Rooms) visibleEvent(tx *store.Tx, v Viewer, id matrix.RoomID, event matrix.EventID) (Access, Item, *ClientEvent, error) {
	a, err := r.Access(tx, v.User, id)
	none := matrix.NotFound("there is no event %s that you may see", event)
	if err != nil {
		return a, Item{}, nil, err
	}
	it, ok, err := r.Place(tx, a.Room, event)
	if err != nil {
		return a, it, nil, err
	}
	if !ok || it.Seq > a.Seq {
		return a, it, nil, none
	}
	shown, err := r.Render(tx, v, a.Room, []Item{it})
	if err != nil {
		return a, it, nil, err
	}
	if len(shown) == 0 {
		return a, it, nil, none
	}
	return a, it, shown[0], nil
}
