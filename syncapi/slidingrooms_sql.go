package syncapi

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// readListed reads the rooms that a user has to do with, but for those that they forgot.
func readListed(tx *store.Tx, user matrix.UserID) ([]listed, error) {
	return store.Select(tx, func(r store.Row) (listed, error) {
		var l listed
		return l, r.Scan(&l.room, &l.id, &l.membership, &l.sender, &l.began)
	}, `
		SELECT room_nid, room_id, membership, sender, pos FROM user_rooms
		WHERE ushard = $1 AND user_id = $2 AND forgotten = 0`, user.Shard(), string(user))
}
