package roomserver

import "astrocyte/store"

func insertOddTimes(tx *store.Tx, rows [][]any) error {
	return bulk(tx, store.Bulk{Table: "odd_times", Columns: []string{"shard", "room_nid", "seq", "ts"}, Rows: rows})
}

// evenAfter reads places of a room behind one whose events have no odd times, oldest first.
func evenAfter(tx *store.Tx, room RoomNID, seq int64, limit int) ([]Item, error) {
	return store.Select(tx, scanItem, `
		SELECT t.seq, t.pos, t.event_nid, t.snap FROM timeline t
		WHERE t.shard = $1 AND t.room_nid = $2 AND t.seq > $3
			AND NOT EXISTS (SELECT 1 FROM odd_times o WHERE o.shard = t.shard AND o.room_nid = t.room_nid AND o.seq = t.seq)
		ORDER BY t.seq LIMIT $4`, room.Shard(), int64(room), seq, int64(limit))
}

// evenBefore reads places of a room before one whose events have no odd times, newest first.
func evenBefore(tx *store.Tx, room RoomNID, seq int64, limit int) ([]Item, error) {
	return store.Select(tx, scanItem, `
		SELECT t.seq, t.pos, t.event_nid, t.snap FROM timeline t
		WHERE t.shard = $1 AND t.room_nid = $2 AND t.seq < $3
			AND NOT EXISTS (SELECT 1 FROM odd_times o WHERE o.shard = t.shard AND o.room_nid = t.room_nid AND o.seq = t.seq)
		ORDER BY t.seq DESC LIMIT $4`, room.Shard(), int64(room), seq, int64(limit))
}

const oddColumns = `t.seq, t.pos, t.event_nid, t.snap FROM odd_times o
	JOIN timeline t ON t.shard = o.shard AND t.room_nid = o.room_nid AND t.seq = o.seq`

// oddFrom reads places of events with odd times that are not before one, the earliest first.
func oddFrom(tx *store.Tx, room RoomNID, ts int64, limit int) ([]Item, error) {
	return store.Select(tx, scanItem, `SELECT `+oddColumns+`
		WHERE o.shard = $1 AND o.room_nid = $2 AND o.ts >= $3 ORDER BY o.ts, o.seq LIMIT $4`, room.Shard(), int64(room), ts, int64(limit))
}

// oddUpTo reads places of events with odd times that are not after one, the latest first.
func oddUpTo(tx *store.Tx, room RoomNID, ts int64, limit int) ([]Item, error) {
	return store.Select(tx, scanItem, `SELECT `+oddColumns+`
		WHERE o.shard = $1 AND o.room_nid = $2 AND o.ts <= $3 ORDER BY o.ts DESC, o.seq DESC LIMIT $4`, room.Shard(), int64(room), ts, int64(limit))
}
