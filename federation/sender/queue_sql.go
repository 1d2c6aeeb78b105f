package sender

import (
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// waiting is a stretch that waits for a server.
type waiting struct {
	room       roomserver.RoomNID
	since      int64
	from, upto int64
}

// readWaiting reads the stretches that wait for a server, the oldest first.
func readWaiting(tx *store.Tx, server matrix.ServerName, limit int) ([]waiting, error) {
	return store.Select(tx, func(r store.Row) (w waiting, err error) {
		return w, r.Scan(&w.room, &w.since, &w.from, &w.upto)
	}, `SELECT room_nid, since, from_seq, upto_seq FROM destination_rooms WHERE server = $1
		ORDER BY queued, room_nid, since LIMIT $2`, string(server), int64(limit))
}

// moveOn notes how far a stretch was sent. What was added meanwhile stays.
func moveOn(tx *store.Tx, server matrix.ServerName, m move) error {
	if m.done {
		n, err := tx.Exec(`DELETE FROM destination_rooms WHERE server = $1 AND room_nid = $2 AND since = $3 AND upto_seq = $4`,
			string(server), int64(m.room), m.since, m.upto)
		if err != nil || n > 0 {
			return err
		}
	}
	_, err := tx.Exec(`UPDATE destination_rooms SET from_seq = $1 WHERE server = $2 AND room_nid = $3 AND since = $4 AND from_seq < $1`,
		m.next, string(server), int64(m.room), m.since)
	return err
}

// lockDestination locks the row of a destination.
func lockDestination(tx *store.Tx, server matrix.ServerName) (pause int64, err error) {
	pause, _, err = store.One(tx, scanInt, `SELECT pause FROM destinations WHERE server = $1 {FOR UPDATE}`, string(server))
	return pause, err
}

// pauseOf is how long a server is left alone after failures; 0: it is not.
func pauseOf(tx *store.Tx, server matrix.ServerName) (int64, error) {
	pause, _, err := store.One(tx, scanInt, `SELECT pause FROM destinations WHERE server = $1`, string(server))
	return pause, err
}

// anyStretch says whether a stretch waits for a server.
func anyStretch(tx *store.Tx, server matrix.ServerName) (bool, error) {
	_, any, err := store.One(tx, scanInt, `SELECT room_nid FROM destination_rooms WHERE server = $1 LIMIT 1`, string(server))
	return any, err
}

// writeReached notes that a server has taken a transaction.
func writeReached(tx *store.Tx, server matrix.ServerName) error {
	_, err := tx.Exec(`UPDATE destinations SET reached = {NOW}, failing = 0, pause = 0, retry_at = 0, failure = '' WHERE server = $1`,
		string(server))
	return err
}

// writeFailure notes that a server was not reached, and is left alone for a time. The claim ends.
func (s *Sender) writeFailure(tx *store.Tx, server matrix.ServerName, f failure) error {
	_, err := tx.Exec(`
		UPDATE destinations SET failing = CASE WHEN failing = 0 THEN {NOW} ELSE failing END, pause = $1, retry_at = {NOW} + $2,
			due = {NOW} + $2, failure = $3, held_until = CASE WHEN holder = $4 THEN 0 ELSE held_until END
		WHERE server = $5`, f.pause.Milliseconds(), f.wait.Milliseconds(), f.text, s.node, string(server))
	return err
}

// giveBack ends the claim of a destination. more: it is due again, behind all others that are.
func (s *Sender) giveBack(tx *store.Tx, server matrix.ServerName, more bool) error {
	_, err := tx.Exec(`
		UPDATE destinations SET held_until = 0, due = CASE WHEN $1 = 1 THEN {NOW} ELSE CAST($2 AS {INT8}) END
		WHERE server = $3 AND holder = $4`, more, never, string(server), s.node)
	return err
}

// isLeftAlone says whether a server is not sent to for a while.
func isLeftAlone(tx *store.Tx, server matrix.ServerName) (bool, error) {
	_, left, err := store.One(tx, scanInt, `SELECT pause FROM destinations WHERE server = $1 AND retry_at > {NOW}`, string(server))
	return left, err
}

// endPause lets a server be tried at once. Its pause is kept: it doubles if that fails.
func endPause(tx *store.Tx, server matrix.ServerName) error {
	_, err := tx.Exec(`UPDATE destinations SET retry_at = 0 WHERE server = $1`, string(server))
	return err
}
