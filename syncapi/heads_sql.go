package syncapi

import (
	"astrocyte/roomserver"
	"astrocyte/store"
)

type headMove struct {
	room roomserver.RoomNID
	pos  int64
}

// movedHeads reads which rooms have timeline events between two positions, and each room's newest.
func movedHeads(tx *store.Tx, after, upto int64) ([]headMove, error) {
	return store.Select(tx, func(r store.Row) (headMove, error) {
		var m headMove
		return m, r.Scan(&m.room, &m.pos)
	}, `SELECT room_nid, MAX(pos) FROM timeline WHERE pos > $1 AND pos <= $2 GROUP BY room_nid`, after, upto)
}

// movedRooms reads which of the rooms have something newer than a position.
func movedRooms(tx *store.Tx, rooms []int64, since int64) ([]roomserver.RoomNID, error) {
	return store.Select(tx, func(r store.Row) (nid roomserver.RoomNID, err error) { return nid, r.Scan(&nid) },
		`SELECT room_nid FROM rooms WHERE (shard, room_nid) IN {NIDS $1} AND head_pos > $2`, store.List(rooms), since)
}
