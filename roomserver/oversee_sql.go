package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// allRooms lists the rooms with the most members, of all shards: it is for administrators.
func allRooms(tx *store.Tx, limit int) ([]publishedRoom, error) {
	return store.Select(tx, func(r store.Row) (p publishedRoom, err error) {
		return p, r.Scan(&p.nid, &p.joined, &p.snap)
	}, `SELECT room_nid, joined, snap FROM rooms WHERE snap <> 0 ORDER BY joined DESC, room_nid LIMIT $1`, int64(limit))
}

// joinedFrom counts the members that a server has in a room.
func joinedFrom(tx *store.Tx, room RoomNID, server matrix.ServerName) (int64, error) {
	n, _, err := store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT joined FROM room_servers WHERE shard = $1 AND room_nid = $2 AND server = $3`,
		room.Shard(), int64(room), string(server))
	return n, err
}
