package roomserver

import "astrocyte/store"

// softFailed lists events that a room did not take and that are not redacted, the newest first.
func softFailed(tx *store.Tx, room RoomNID, limit int) ([]int64, error) {
	return store.Select(tx, scanNID, `
		SELECT event_nid FROM events WHERE shard = $1 AND room_nid = $2 AND status = 3 AND redacted_by = 0
		ORDER BY event_nid DESC LIMIT $3`, room.Shard(), int64(room), int64(limit))
}
