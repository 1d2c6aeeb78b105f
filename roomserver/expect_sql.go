package roomserver

import "astrocyte/store"

// expectRoom notes that a room is about to be entered, and forgets who was about to and is no more.
func expectRoom(tx *store.Tx, room RoomNID, holder string, ms int64) error {
	if _, err := tx.Exec(`DELETE FROM expected_rooms WHERE shard = $1 AND room_nid = $2 AND until <= {NOW}`, room.Shard(), int64(room)); err != nil {
		return err
	}
	_, err := tx.Exec(`
		INSERT INTO expected_rooms (shard, room_nid, holder, until) VALUES ($1, $2, $3, {NOW} + $4)
		ON CONFLICT (shard, room_nid, holder) DO UPDATE SET until = excluded.until`, room.Shard(), int64(room), holder, ms)
	return err
}

func unexpectRoom(tx *store.Tx, room RoomNID, holder string) error {
	_, err := tx.Exec(`DELETE FROM expected_rooms WHERE shard = $1 AND room_nid = $2 AND holder = $3`, room.Shard(), int64(room), holder)
	return err
}

// expectedRooms finds those of some rooms that are about to be entered.
func expectedRooms(tx *store.Tx, rooms []RoomNID) ([]RoomNID, error) {
	return store.Select(tx, func(r store.Row) (nid RoomNID, err error) { return nid, r.Scan(&nid) }, `
		SELECT DISTINCT room_nid FROM expected_rooms WHERE (shard, room_nid) IN {NIDS $1} AND until > {NOW}`, store.List(rooms))
}
