package syncapi

import (
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

type hero struct {
	user matrix.UserID
	pos  int64
}

// longestStanding reads the first members with a membership, but for one user.
func longestStanding(tx *store.Tx, room roomserver.RoomNID, m matrix.Membership, but matrix.UserID, limit int) ([]hero, error) {
	return store.Select(tx, func(r store.Row) (hero, error) {
		var h hero
		return h, r.Scan(&h.user, &h.pos)
	}, `
		SELECT user_id, pos FROM members
		WHERE shard = $1 AND room_nid = $2 AND membership = $3 AND user_id <> $4 ORDER BY pos LIMIT $5`,
		room.Shard(), int64(room), string(m), string(but), int64(limit))
}
