package roomserver

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Block keeps all users of this server out of a room, known or not, or lets them in again. Who is in it stays.
func (r *Rooms) Block(ctx context.Context, id matrix.RoomID, by matrix.UserID, on bool) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		if on {
			return r.BlockIn(tx, id, by)
		}
		return deleteBlock(tx, id)
	})
}

// BlockIn is Block in a transaction that is under way.
func (r *Rooms) BlockIn(tx *store.Tx, id matrix.RoomID, by matrix.UserID) error {
	return insertBlock(tx, id, by, r.now().UnixMilli())
}

// BlockedBy tells which administrator has blocked a room; false: none.
func (r *Rooms) BlockedBy(ctx context.Context, id matrix.RoomID) (by matrix.UserID, blocked bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) (err error) {
		by, blocked, err = blockOf(tx, id)
		return err
	})
	return by, blocked, err
}

// MayEnter refuses a room that was blocked.
func (r *Rooms) MayEnter(ctx context.Context, id matrix.RoomID) error {
	return r.db.View(ctx, func(tx *store.Tx) error { return notBlocked(tx, id) })
}

func notBlocked(tx *store.Tx, id matrix.RoomID) error {
	_, blocked, err := blockOf(tx, id)
	if err == nil && blocked {
		err = matrix.Forbidden("the administrators of this server have blocked the room %s", id)
	}
	return err
}
