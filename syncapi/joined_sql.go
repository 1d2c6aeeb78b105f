package syncapi

import (
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// newMemberships reads the memberships of a user that began after a position.
func newMemberships(tx *store.Tx, user matrix.UserID, since int64) ([]roomserver.UserRoom, error) {
	return store.Select(tx, func(r store.Row) (roomserver.UserRoom, error) {
		var u roomserver.UserRoom
		err := r.Scan(&u.Room, &u.ID, &u.Membership, &u.Sender, &u.Event, &u.Seq, &u.Pos, &u.Forgotten, &u.Stripped)
		return u, err
	}, `
		SELECT room_nid, room_id, membership, sender, event_nid, seq, pos, forgotten, stripped FROM user_rooms
		WHERE ushard = $1 AND user_id = $2 AND pos > $3 ORDER BY pos`, user.Shard(), string(user), since)
}
