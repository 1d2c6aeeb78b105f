package roomserver

import (
	"context"
	"fmt"

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
	return matrix.Forbidden("the server %s is kept out of the room %s", server, h.ID)
}
