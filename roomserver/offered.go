package roomserver

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// OfferedTo finds the third-party invite of a token in a room, and gives the name that it shows. Whether it is the
// user's is for the rules to say, by what an identity server signed. Who is in the room needs no invite.
func (r *Rooms) OfferedTo(ctx context.Context, room matrix.RoomID, user matrix.UserID, token string) (name string, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		h, known, err := r.headByID(tx, room)
		if err == nil && !known {
			err = matrix.NotFound("this server is not in the room %s", room)
		}
		if err != nil {
			return err
		}
		st, err := r.states.Load(tx, h.Snap)
		if err != nil {
			return err
		}
		offer, err := r.StateEvent(tx, st, "m.room.third_party_invite", token)
		if err != nil {
			return err
		}
		if offer == nil {
			return matrix.Forbidden("the room has no such third-party invite")
		}
		member, err := r.StateEvent(tx, st, "m.room.member", string(user))
		if err != nil {
			return err
		}
		if member != nil && member.Membership() == matrix.Join {
			return matrix.Forbidden("%s is in the room already", user)
		}
		shown, _ := canonicaljson.Field(offer.Content(), "display_name")
		name, _ = canonicaljson.Text(shown)
		return nil
	})
	return name, err
}
