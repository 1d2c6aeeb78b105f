package roomserver

import (
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

func localMembers(tx *store.Tx, room RoomNID, server matrix.ServerName) ([]LocalMember, error) {
	return store.Select(tx, func(r store.Row) (m LocalMember, err error) {
		var membership string
		err = r.Scan(&m.User, &membership, &m.Pos)
		m.Joined = matrix.Membership(membership) == matrix.Join
		return m, err
	}, `
		SELECT user_id, membership, pos FROM members
		WHERE shard = $1 AND room_nid = $2 AND membership IN ('join', 'leave', 'ban') AND user_id LIKE $3 ESCAPE '\'`,
		room.Shard(), int64(room), oursLike(server))
}

// oursLike is the pattern of users of a server.
func oursLike(server matrix.ServerName) string {
	return "%:" + strings.ReplaceAll(string(server), "_", `\_`)
}

// roomsOfForeign reads the rooms that a user of another server is in: among those of their server.
func roomsOfForeign(tx *store.Tx, user matrix.UserID) ([]RoomNID, error) {
	return store.Select(tx, func(r store.Row) (nid RoomNID, err error) { return nid, r.Scan(&nid) }, `
		SELECT m.room_nid FROM room_servers s
		JOIN members m ON m.shard = s.shard AND m.room_nid = s.room_nid
		WHERE s.server = $1 AND s.joined > 0 AND m.user_id = $2 AND m.membership = 'join'`, string(user.Server()), string(user))
}
