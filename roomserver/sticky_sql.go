package roomserver

import "astrocyte/store"

func insertSticky(tx *store.Tx, rows [][]any) error {
	return bulk(tx, store.Bulk{
		Table: "sticky_events", Columns: []string{"shard", "room_nid", "pos", "event_nid", "seq", "until"}, Rows: rows,
	})
}

// deleteUnstuck deletes what is of a room's sticky events that are over.
func deleteUnstuck(tx *store.Tx, room RoomNID, now int64) error {
	_, err := tx.Exec(`DELETE FROM sticky_events WHERE shard = $1 AND room_nid = $2 AND until <= $3`, room.Shard(), int64(room), now)
	return err
}

// insertRefused notes that a sticky event of a room was soft-failed, and forgets those for which it is too late.
func insertRefused(tx *store.Tx, room RoomNID, event, until, now int64) error {
	if _, err := tx.Exec(`DELETE FROM sticky_refused WHERE shard = $1 AND room_nid = $2 AND until <= $3`, room.Shard(), int64(room), now); err != nil {
		return err
	}
	_, err := tx.Exec(`
		INSERT INTO sticky_refused (shard, room_nid, event_nid, until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (shard, room_nid, event_nid) DO NOTHING`, room.Shard(), int64(room), event, until)
	return err
}

func deleteRefused(tx *store.Tx, room RoomNID, event int64) error {
	_, err := tx.Exec(`DELETE FROM sticky_refused WHERE shard = $1 AND room_nid = $2 AND event_nid = $3`, room.Shard(), int64(room), event)
	return err
}

// withRefused reads which of some rooms have sticky events that were soft-failed.
func withRefused(tx *store.Tx, rooms []RoomNID, now int64) ([]RoomNID, error) {
	return store.Select(tx, scanRoomNID, `SELECT DISTINCT room_nid FROM sticky_refused WHERE (shard, room_nid) IN {NIDS $1} AND until > $2`,
		store.List(rooms), now)
}

// refusedSticky reads sticky events of a room that were soft-failed, in the order in which they came, and until when they
// are sticky.
func refusedSticky(tx *store.Tx, room RoomNID, now int64, limit int) (events, until []int64, err error) {
	return events, until, store.Each(tx, func(r store.Row) error {
		var nid, ms int64
		err := r.Scan(&nid, &ms)
		events, until = append(events, nid), append(until, ms)
		return err
	}, `SELECT event_nid, until FROM sticky_refused WHERE shard = $1 AND room_nid = $2 AND until > $3 ORDER BY event_nid LIMIT $4`,
		room.Shard(), int64(room), now, int64(limit))
}

func scanRoomNID(r store.Row) (nid RoomNID, err error) { return nid, r.Scan(&nid) }

// stickyRooms reads which rooms have sticky events.
func stickyRooms(tx *store.Tx, rooms []RoomNID, now int64) ([]RoomNID, error) {
	return store.Select(tx, scanRoomNID, `SELECT DISTINCT room_nid FROM sticky_events WHERE (shard, room_nid) IN {NIDS $1} AND until > $2`,
		store.List(rooms), now)
}

// stickyBetween reads which rooms have had sticky events between two positions.
func stickyBetween(tx *store.Tx, after, upto, now int64) ([]RoomNID, error) {
	return store.Select(tx, scanRoomNID, `SELECT DISTINCT room_nid FROM sticky_events WHERE pos > $1 AND pos <= $2 AND until > $3`, after, upto, now)
}

// stickyAfter reads sticky events of a room between two positions, the newest first.
func stickyAfter(tx *store.Tx, room RoomNID, after, upto, now int64, limit int) ([]Item, error) {
	return store.Select(tx, func(r store.Row) (it Item, err error) { return it, r.Scan(&it.Seq, &it.Pos, &it.NID) }, `
		SELECT seq, pos, event_nid FROM sticky_events
		WHERE shard = $1 AND room_nid = $2 AND pos > $3 AND pos <= $4 AND until > $5 ORDER BY pos DESC LIMIT $6`,
		room.Shard(), int64(room), after, upto, now, int64(limit))
}

// stickyUntil reads until when events of a room are sticky.
func stickyUntil(tx *store.Tx, room RoomNID, nids []int64) (map[int64]int64, error) {
	until := make(map[int64]int64, len(nids))
	return until, store.Each(tx, func(r store.Row) error {
		var nid, ms int64
		err := r.Scan(&nid, &ms)
		until[nid] = ms
		return err
	}, `SELECT event_nid, until FROM sticky_events WHERE shard = $1 AND room_nid = $2 AND event_nid {IN $3 INT8}`,
		room.Shard(), int64(room), store.List(nids))
}
