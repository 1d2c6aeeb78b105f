package roomserver

import "astrocyte/store"

// stateAfter lists state events of a room's timeline behind a place, oldest first.
func stateAfter(tx *store.Tx, room RoomNID, seq int64, limit int) ([]int64, error) {
	return store.Select(tx, scanNID, `
		SELECT e.event_nid FROM timeline t
		JOIN events e ON e.shard = t.shard AND e.event_nid = t.event_nid
		WHERE t.shard = $1 AND t.room_nid = $2 AND t.seq > $3 AND e.tuple_nid <> 0 ORDER BY t.seq LIMIT $4`,
		room.Shard(), int64(room), seq, int64(limit))
}
