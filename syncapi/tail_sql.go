package syncapi

import (
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

func scanMove[K comparable](r store.Row) (move[K], error) {
	var m move[K]
	return m, r.Scan(&m.what, &m.pos)
}

// readRoomMoves reads which rooms have timeline events between two positions.
func readRoomMoves(tx *store.Tx, after, upto int64) ([]move[roomserver.RoomNID], error) {
	return store.Select(tx, scanMove[roomserver.RoomNID],
		`SELECT room_nid, MAX(pos) FROM timeline WHERE pos > $1 AND pos <= $2 GROUP BY room_nid`, after, upto)
}

// readUserMoves reads which users have new memberships, account data or push rules between two positions.
func readUserMoves(tx *store.Tx, after, upto int64) ([]move[matrix.UserID], error) {
	return store.Select(tx, scanMove[matrix.UserID], `
		SELECT user_id, MAX(pos) FROM (
			SELECT user_id, pos FROM user_rooms WHERE pos > $1 AND pos <= $2
			UNION ALL
			SELECT user_id, pos FROM account_data WHERE pos > $1 AND pos <= $2
			UNION ALL
			SELECT user_id, pos FROM push_rules WHERE pos > $1 AND pos <= $2
			UNION ALL
			SELECT user_id, pos FROM key_news WHERE pos > $1 AND pos <= $2
			UNION ALL
			SELECT user_id, pos FROM to_device WHERE pos > $1 AND pos <= $2
		) AS changes GROUP BY user_id`, after, upto)
}

// readMemberMoves reads in which rooms memberships began between two positions.
func readMemberMoves(tx *store.Tx, after, upto int64) ([]move[roomserver.RoomNID], error) {
	return store.Select(tx, scanMove[roomserver.RoomNID],
		`SELECT room_nid, MAX(pos) FROM members WHERE pos > $1 AND pos <= $2 GROUP BY room_nid`, after, upto)
}

// readListMoves reads whose devices changed between two positions.
func readListMoves(tx *store.Tx, after, upto int64) ([]move[matrix.UserID], error) {
	return store.Select(tx, scanMove[matrix.UserID],
		`SELECT user_id, pos FROM device_lists WHERE pos > $1 AND pos <= $2`, after, upto)
}

// readMovedRooms reads which of the rooms have something newer than a position.
func readMovedRooms(tx *store.Tx, rooms []int64, since int64) ([]roomserver.RoomNID, error) {
	return store.Select(tx, func(r store.Row) (nid roomserver.RoomNID, err error) { return nid, r.Scan(&nid) },
		`SELECT room_nid FROM rooms WHERE (shard, room_nid) IN {NIDS $1} AND head_pos > $2`, store.List(rooms), since)
}
