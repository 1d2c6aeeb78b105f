package roomserver

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Version finds the version of a room; false: this server has never heard of it.
func (r *Rooms) Version(ctx context.Context, room matrix.RoomID) (*rules.Version, bool, error) {
	var v *rules.Version
	err := r.db.View(ctx, func(tx *store.Tx) error {
		h, ok, err := r.headByID(tx, room)
		if ok && err == nil {
			v, err = version(h.Version)
		}
		return err
	})
	return v, v != nil, err
}

// headByID finds what a room is now; false: this server has never heard of it.
func (r *Rooms) headByID(tx *store.Tx, room matrix.RoomID) (Head, bool, error) {
	nid, ok, err := r.NID(tx, room)
	if err != nil || !ok {
		return Head{}, false, err
	}
	heads, err := r.Heads(tx, []RoomNID{nid})
	if err != nil {
		return Head{}, false, fmt.Errorf("read the head of room %s: %w", room, err)
	}
	h, ok := heads[nid]
	return h, ok, nil
}

// Resident says whether this server takes part in a room: it has members there.
func (r *Rooms) Resident(ctx context.Context, room matrix.RoomID) (bool, error) {
	var in bool
	err := r.db.View(ctx, func(tx *store.Tx) error {
		nid, ok, err := r.NID(tx, room)
		if err != nil || !ok {
			return err
		}
		in, err = serverIn(tx, nid, r.server)
		return err
	})
	return in, err
}

// Door is a room as another server finds it that brings events.
type Door struct {
	Room    RoomNID
	Version *rules.Version
	Closed  string // why the room's access control list keeps the server out
}

// Doors finds rooms that this server is in, or is about to enter. The others are missing from what it gives.
func (r *Rooms) Doors(ctx context.Context, rooms []matrix.RoomID, origin matrix.ServerName) (map[matrix.RoomID]Door, error) {
	out := make(map[matrix.RoomID]Door, len(rooms))
	err := r.db.View(ctx, func(tx *store.Tx) error {
		var nids []RoomNID
		seen := make(map[matrix.RoomID]bool, len(rooms))
		for _, id := range rooms {
			if seen[id] || id == "" {
				continue
			}
			seen[id] = true
			nid, here, err := r.NID(tx, id)
			if err != nil {
				return fmt.Errorf("find room %s: %w", id, err)
			}
			if here {
				nids = append(nids, nid)
			}
		}
		nids, err := r.openRooms(tx, nids)
		if err != nil {
			return err
		}
		heads, err := r.Heads(tx, nids)
		if err != nil {
			return fmt.Errorf("read the heads of %d rooms: %w", len(nids), err)
		}
		lists, err := r.accessLists(tx, heads)
		if err != nil {
			return fmt.Errorf("read the access control lists of %d rooms: %w", len(heads), err)
		}
		for nid, h := range heads {
			d := Door{Room: nid}
			if d.Version, err = version(h.Version); err != nil {
				return err
			}
			if list := lists[nid]; list != nil && !list.ACL().Allows(origin) {
				d.Closed = keptOut(origin, h.ID).Message
			}
			out[h.ID] = d
		}
		return nil
	})
	return out, err
}

// openRooms finds those of some rooms that this server is in, or is about to enter.
func (r *Rooms) openRooms(tx *store.Tx, rooms []RoomNID) ([]RoomNID, error) {
	open, err := roomsWithServer(tx, rooms, r.server)
	if err != nil || len(open) == len(rooms) {
		return open, err
	}
	others := slices.DeleteFunc(rooms, func(nid RoomNID) bool { return slices.Contains(open, nid) })
	expected, err := expectedRooms(tx, others)
	return append(open, expected...), err
}

// accessLists reads the access control lists of rooms.
func (r *Rooms) accessLists(tx *store.Tx, heads map[RoomNID]Head) (map[RoomNID]*Event, error) {
	tuple, some, err := r.states.Tuple(tx, rules.StateKey{Type: "m.room.server_acl"})
	if err != nil || !some {
		return nil, err
	}
	of := make(map[int64]RoomNID)
	for nid, h := range heads {
		st, err := r.states.Load(tx, h.Snap)
		if err != nil {
			return nil, err
		}
		if event, ok := st.Event(tuple); ok {
			of[event] = nid
		}
	}
	found, err := r.held(tx, slices.Collect(maps.Keys(of)))
	lists := make(map[RoomNID]*Event, len(found))
	for event, e := range found {
		lists[of[event]] = e
	}
	return lists, err
}

// InRoom refuses a server that has no members in a room. A room that this server does not take part in
// is refused like one that the other is not in.
func (r *Rooms) InRoom(ctx context.Context, room matrix.RoomID, server matrix.ServerName) error {
	return r.db.View(ctx, func(tx *store.Tx) error {
		_, err := r.headFor(tx, room, server)
		return err
	})
}

// headFor finds a room for another server that takes part in it.
func (r *Rooms) headFor(tx *store.Tx, room matrix.RoomID, server matrix.ServerName) (Head, error) {
	refused := matrix.Forbidden("the server %s is not in the room %s", server, room)
	h, ok, err := r.headByID(tx, room)
	if err != nil {
		return h, err
	}
	if !ok {
		return h, refused
	}
	for _, s := range []matrix.ServerName{server, r.server} {
		in, err := serverIn(tx, h.Room, s)
		if err != nil {
			return h, err
		}
		if !in {
			return h, refused
		}
	}
	return h, nil
}

// Admits refuses a server that the room's access control list keeps out.
//
// Spec: CS "Server Access Control Lists (ACLs) for rooms".
func (r *Rooms) Admits(ctx context.Context, room matrix.RoomID, server matrix.ServerName) error {
	return r.db.View(ctx, func(tx *store.Tx) error {
		h, ok, err := r.headByID(tx, room)
		if err != nil || !ok {
			return err
		}
		return r.admits(tx, h, server)
	})
}

func (r *Rooms) admits(tx *store.Tx, h Head, server matrix.ServerName) error {
	st, err := r.states.Load(tx, h.Snap)
	if err != nil {
		return err
	}
	acl, err := r.StateEvent(tx, st, "m.room.server_acl", "")
	if err != nil || acl == nil || acl.ACL().Allows(server) {
		return err
	}
	return keptOut(server, h.ID)
}

func keptOut(server matrix.ServerName, room matrix.RoomID) *matrix.Error {
	return matrix.Forbidden("the server %s is kept out of the room %s", server, room)
}
