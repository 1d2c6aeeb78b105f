package inbound

import (
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

func scanInt(r store.Row) (n int64, err error) { return n, r.Scan(&n) }

func readAnswer(tx *store.Tx, origin matrix.ServerName, txn string) ([]byte, bool, error) {
	return store.One(tx, func(r store.Row) (answer []byte, err error) { return answer, r.Scan(&answer) },
		`SELECT answer FROM inbound_txns WHERE origin = $1 AND txn_id = $2`, string(origin), txn)
}

func writeAnswer(tx *store.Tx, origin matrix.ServerName, txn string, now int64, answer []byte) error {
	_, err := tx.Exec(`INSERT INTO inbound_txns (origin, txn_id, ts, answer) VALUES ($1, $2, $3, $4) ON CONFLICT (origin, txn_id) DO NOTHING`,
		string(origin), txn, now, answer)
	return err
}

func deleteAnswers(tx *store.Tx, before int64) error {
	_, err := tx.Exec(`DELETE FROM inbound_txns WHERE ts < $1`, before)
	return err
}

// countStaged counts the events of rooms that wait.
func countStaged(tx *store.Tx, rooms []roomserver.RoomNID) (map[roomserver.RoomNID]int, error) {
	waiting := make(map[roomserver.RoomNID]int)
	if len(rooms) == 0 {
		return waiting, nil
	}
	err := store.Each(tx, func(r store.Row) error {
		var room roomserver.RoomNID
		var n int
		err := r.Scan(&room, &n)
		waiting[room] = n
		return err
	}, `SELECT room_nid, count(*) FROM inbound_pdus WHERE (shard, room_nid) IN {NIDS $1} GROUP BY room_nid`, store.List(rooms))
	return waiting, err
}

// countReady counts those for which nothing has to be fetched, as far as is known.
func countReady(tx *store.Tx, room roomserver.RoomNID) (int64, error) {
	n, _, err := store.One(tx, scanInt, `SELECT count(*) FROM inbound_pdus WHERE shard = $1 AND room_nid = $2 AND gap = 0`,
		room.Shard(), int64(room))
	return n, err
}

func stage(tx *store.Tx, origin matrix.ServerName, events []*judged) error {
	rows := make([][]any, len(events))
	for i, e := range events {
		rows[i] = []any{
			e.room.Shard(), int64(e.room), string(e.ev.ID()), e.came, string(origin), int64(0), int64(0), int64(0), e.ev.Bytes(),
		}
	}
	_, err := tx.Bulk(store.Bulk{
		Table:      "inbound_pdus",
		Columns:    []string{"shard", "room_nid", "event_id", "came", "origin", "gap", "due", "attempts", "json"},
		Rows:       rows,
		OnConflict: "ON CONFLICT (shard, room_nid, event_id) DO NOTHING",
	})
	return err
}

// stagedRow is a row before its bytes are parsed.
type stagedRow struct {
	id       matrix.EventID
	origin   matrix.ServerName
	attempts int
	json     []byte
}

func scanStaged(r store.Row) (s stagedRow, err error) {
	return s, r.Scan(&s.id, &s.origin, &s.attempts, &s.json)
}

// readStaged reads events of a room that wait, those that came first first.
func readStaged(tx *store.Tx, room roomserver.RoomNID, gap bool, limit int) ([]stagedRow, error) {
	return store.Select(tx, scanStaged, `
		SELECT event_id, origin, attempts, json FROM inbound_pdus
		WHERE shard = $1 AND room_nid = $2 AND gap = $3 AND due <= {NOW} ORDER BY came LIMIT $4`,
		room.Shard(), int64(room), gap, int64(limit))
}

// readAside reads events that were put aside, whenever they are due.
func readAside(tx *store.Tx, room roomserver.RoomNID, limit int) ([]stagedRow, error) {
	return store.Select(tx, scanStaged, `
		SELECT event_id, origin, attempts, json FROM inbound_pdus
		WHERE shard = $1 AND room_nid = $2 AND gap = 1 ORDER BY came LIMIT $3`, room.Shard(), int64(room), int64(limit))
}

// takeBack has events received, after a while, that were put aside.
func takeBack(tx *store.Tx, room roomserver.RoomNID, events []matrix.EventID, ms int64) error {
	_, err := tx.Exec(`UPDATE inbound_pdus SET gap = 0, due = {NOW} + $1 WHERE shard = $2 AND room_nid = $3 AND event_id {IN $4 TEXT}`,
		ms, room.Shard(), int64(room), store.List(events))
	return err
}

// nextDue says how long it is until an event of a room is due.
func nextDue(tx *store.Tx, room roomserver.RoomNID, gap bool) (ms int64, found bool, err error) {
	return store.One(tx, scanInt, `
		SELECT due - {NOW} FROM inbound_pdus WHERE shard = $1 AND room_nid = $2 AND gap = $3 ORDER BY due LIMIT 1`,
		room.Shard(), int64(room), gap)
}

func unstage(tx *store.Tx, room roomserver.RoomNID, events []matrix.EventID) error {
	_, err := tx.Exec(`DELETE FROM inbound_pdus WHERE shard = $1 AND room_nid = $2 AND event_id {IN $3 TEXT}`,
		room.Shard(), int64(room), store.List(events))
	return err
}

// unstageRoom forgets all that waits in a room.
func unstageRoom(tx *store.Tx, room roomserver.RoomNID) error {
	_, err := tx.Exec(`DELETE FROM inbound_pdus WHERE shard = $1 AND room_nid = $2`, room.Shard(), int64(room))
	return err
}

// unstageAll forgets events of some rooms.
func unstageAll(tx *store.Tx, rooms []roomserver.RoomNID, events []matrix.EventID) error {
	_, err := tx.Exec(`DELETE FROM inbound_pdus WHERE (shard, room_nid) IN {NIDS $1} AND event_id {IN $2 TEXT}`,
		store.List(rooms), store.List(events))
	return err
}

// withAside finds those of some rooms in which events were put aside.
func withAside(tx *store.Tx, rooms []roomserver.RoomNID) ([]roomserver.RoomNID, error) {
	return store.Select(tx, func(r store.Row) (nid roomserver.RoomNID, err error) { return nid, r.Scan(&nid) }, `
		SELECT DISTINCT room_nid FROM inbound_pdus WHERE (shard, room_nid) IN {NIDS $1} AND gap = 1`, store.List(rooms))
}

// putAside notes that what is before events has to be fetched.
func putAside(tx *store.Tx, room roomserver.RoomNID, events []matrix.EventID) error {
	_, err := tx.Exec(`UPDATE inbound_pdus SET gap = 1 WHERE shard = $1 AND room_nid = $2 AND event_id {IN $3 TEXT}`,
		room.Shard(), int64(room), store.List(events))
	return err
}

// waitFor has an event that was put aside received after a while. That does not count as a try.
func waitFor(tx *store.Tx, room roomserver.RoomNID, event matrix.EventID, ms int64) error {
	_, err := tx.Exec(`UPDATE inbound_pdus SET due = {NOW} + $1 WHERE shard = $2 AND room_nid = $3 AND event_id = $4 AND gap = 1`,
		ms, room.Shard(), int64(room), string(event))
	return err
}

// postpone notes that an event could not be received. One that was taken back meanwhile is not meant.
func postpone(tx *store.Tx, room roomserver.RoomNID, event matrix.EventID, ms int64) error {
	_, err := tx.Exec(`
		UPDATE inbound_pdus SET attempts = attempts + 1, due = {NOW} + $1 WHERE shard = $2 AND room_nid = $3 AND event_id = $4 AND gap = 1`,
		ms, room.Shard(), int64(room), string(event))
	return err
}
