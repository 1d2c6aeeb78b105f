package roomserver

import (
	"context"
	"fmt"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

// Outside is a membership of a user of ours in a room that this server is not in: an invite by another
// server, a knock that another server took, or the end of either.
type Outside struct {
	Room       matrix.RoomID
	User       matrix.UserID
	Membership matrix.Membership
	Sender     matrix.UserID
	Stripped   []byte // what the user is told of the room: a JSON list
}

// KeepOutside keeps a membership in a room that this server is not in. It stands in no timeline: the
// event will come with the room if the user joins it. Where this server is in the room by then, the room
// itself tells, and nothing is kept.
func (r *Rooms) KeepOutside(ctx context.Context, o Outside) error {
	fresh, err := r.newNID(ctx)
	if err != nil {
		return err
	}
	return r.db.Update(ctx, func(tx *store.Tx) error {
		nid, err := claimRoomID(tx, o.Room, fresh)
		if err != nil {
			return fmt.Errorf("claim the id of room %s: %w", o.Room, err)
		}
		if in, err := serverIn(tx, nid, r.server); in || err != nil {
			return err
		}
		pos, err := tx.NextPos(1)
		if err != nil {
			return err
		}
		if err := keepOutside(tx, nid, pos, o); err != nil {
			return fmt.Errorf("keep the %s of %s: %w", o.Membership, o.User, err)
		}
		tx.Announce(bus.Change{Kind: bus.User, Key: string(o.User), Pos: pos})
		return nil
	})
}

// IsOutside finds a membership in a room that this server is not in; false where this server is in the room, or
// the user has nothing to do with it.
func (r *Rooms) IsOutside(ctx context.Context, user matrix.UserID, room matrix.RoomID) (ur UserRoom, outside bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		nid, ok, err := r.NID(tx, room)
		if err != nil || !ok {
			return err
		}
		in, err := serverIn(tx, nid, r.server)
		if err != nil || in {
			return err
		}
		ur, outside, err = r.UserRoom(tx, user, nid)
		return err
	})
	return ur, outside, err
}
