package remote

import (
	"context"
	"errors"
	"time"

	"astrocyte/matrix"
)

// guestsLook is when it is looked again whether a guest may be in a room, should this node die while they join.
const guestsLook = 5 * time.Minute

// joinAsGuest lets a guest join by other servers, where these tell that the room is open to guests. What its state
// says is known with the answer to the join only: a guest who came in against it leaves at once.
//
// Spec: CS m.room.guest_access.
func (r *Remote) joinAsGuest(ctx context.Context, e Entry, join func(context.Context, matrix.ServerName) error) error {
	in, err := r.rooms.Resident(ctx, e.Room)
	if err != nil {
		return err
	}
	if !in {
		told := r.askSpace(ctx, e.Room, e.Via, false)
		if told == nil || !told.Room.GuestCanJoin {
			return matrix.E(matrix.CodeGuestAccessForbidden, "no server of this room tells that it is open to guests")
		}
	}
	if err := r.rooms.LetGuestsLeave(ctx, e.Room, guestsLook); err != nil {
		return err
	}
	if err := r.overServers(ctx, e, join); err != nil {
		return err
	}
	refused := r.rooms.NoGuests(ctx, e.Room)
	if refused == nil {
		return nil
	}
	return errors.Join(refused, r.rooms.LetGuestsLeave(ctx, e.Room, 0))
}
