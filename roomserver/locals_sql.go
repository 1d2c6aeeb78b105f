package roomserver

import (
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

func localMembers(tx *store.Tx, room RoomNID, server matrix.ServerName) ([]LocalMember, error) {
	ours := "%:" + strings.ReplaceAll(string(server), "_", `\_`)
	return store.Select(tx, func(r store.Row) (m LocalMember, err error) {
		var membership string
		err = r.Scan(&m.User, &membership, &m.Pos)
		m.Joined = matrix.Membership(membership) == matrix.Join
		return m, err
	}, `
		SELECT user_id, membership, pos FROM members
		WHERE shard = $1 AND room_nid = $2 AND membership IN ('join', 'leave', 'ban') AND user_id LIKE $3 ESCAPE '\'`,
		room.Shard(), int64(room), ours)
}
