package delayed

import (
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

const columns = `delay_id, user_id, device_id, scope, txn_id, room_id, type, is_state, state_key, content, event_ts, unlimited,
	delay, since, ended, event_id, error, sticky`

func scanEvent(r store.Row) (e Event, err error) {
	var isState, unlimited, delay int64
	var key string
	var content, failed []byte
	err = r.Scan(&e.ID, &e.User, &e.Device, &e.Scope, &e.Txn, &e.Room, &e.Type, &isState, &key, &content, &e.Timestamp, &unlimited,
		&delay, &e.Since, &e.Ended, &e.Sent, &failed, &e.Sticky)
	e.Content, e.Unlimited, e.Delay = content, unlimited != 0, time.Duration(delay)*time.Millisecond
	if isState != 0 {
		e.StateKey = &key
	}
	if len(failed) > 0 {
		e.Failed = failed
	}
	return e, err
}

// insert keeps an event; false: one with its transaction id came in between.
func insert(tx *store.Tx, e Event) (bool, error) {
	var isState, unlimited int64
	key := ""
	if e.StateKey != nil {
		isState, key = 1, *e.StateKey
	}
	if e.Unlimited {
		unlimited = 1
	}
	n, err := tx.Exec(`INSERT INTO delayed_events (ushard, `+columns+`, due)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, '', $16, $17, $18) ON CONFLICT DO NOTHING`,
		e.User.Shard(), e.ID, string(e.User), string(e.Device), e.Scope, e.Txn, string(e.Room), e.Type, isState, key, []byte(e.Content),
		e.Timestamp, unlimited, e.Delay.Milliseconds(), e.Since, []byte{}, e.Sticky, e.due())
	return n == 1, err
}

// byTxn finds the event that came with the same transaction.
func byTxn(tx *store.Tx, e Event) (id string, found bool, err error) {
	if e.Txn == "" {
		return "", false, nil
	}
	return store.One(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, `
		SELECT delay_id FROM delayed_events WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND scope = $4 AND txn_id = $5 AND txn_id <> ''`,
		e.User.Shard(), string(e.User), string(e.Device), e.Scope, e.Txn)
}

func byID(tx *store.Tx, shard int64, id string, lock bool) (Event, bool, error) {
	query := `SELECT ` + columns + ` FROM delayed_events WHERE ushard = $1 AND delay_id = $2`
	if lock {
		query += ` {FOR UPDATE}`
	}
	return store.One(tx, scanEvent, query, shard, id)
}

// waiting counts the events of a user that wait, and tells when the first of them is due.
func waiting(tx *store.Tx, user matrix.UserID) (n, first int64, err error) {
	_, _, err = store.One(tx, func(r store.Row) (struct{}, error) { return struct{}{}, r.Scan(&n, &first) }, `
		SELECT count(*), COALESCE(min(due), 0) FROM delayed_events WHERE ushard = $1 AND user_id = $2 AND ended = 0`,
		user.Shard(), string(user))
	return n, first, err
}

func waitingOf(tx *store.Tx, user matrix.UserID, limit int) ([]Event, error) {
	return store.Select(tx, scanEvent, `SELECT `+columns+` FROM delayed_events
		WHERE ushard = $1 AND user_id = $2 AND ended = 0 ORDER BY due, delay_id LIMIT $3`, user.Shard(), string(user), int64(limit))
}

// due reads events whose time has come, in the order of their times.
func due(tx *store.Tx, now int64, limit int) ([]Event, error) {
	return store.Select(tx, scanEvent, `SELECT `+columns+` FROM delayed_events
		WHERE ended = 0 AND due <= $1 ORDER BY due LIMIT $2`, now, int64(limit))
}

// nextDue tells when the next event is due, or otherwise where there is none.
func nextDue(tx *store.Tx, otherwise int64) (int64, error) {
	at, found, err := store.One(tx, func(r store.Row) (at int64, err error) { return at, r.Scan(&at) },
		`SELECT due FROM delayed_events WHERE ended = 0 ORDER BY due LIMIT 1`)
	if !found {
		at = otherwise
	}
	return at, err
}

func end(tx *store.Tx, id string, user matrix.UserID, now int64, sent matrix.EventID, why []byte) error {
	if why == nil {
		why = []byte{}
	}
	_, err := tx.Exec(`UPDATE delayed_events SET ended = $1, event_id = $2, error = $3 WHERE ushard = $4 AND delay_id = $5 AND ended = 0`,
		now, string(sent), why, user.Shard(), id)
	return err
}

func postpone(tx *store.Tx, id string, user matrix.UserID, since, due int64) error {
	_, err := tx.Exec(`UPDATE delayed_events SET since = $1, due = $2 WHERE ushard = $3 AND delay_id = $4 AND ended = 0`,
		since, due, user.Shard(), id)
	return err
}

// putOff lets an event be tried again later.
func putOff(tx *store.Tx, id string, user matrix.UserID, due int64) error {
	_, err := tx.Exec(`UPDATE delayed_events SET due = $1 WHERE ushard = $2 AND delay_id = $3 AND ended = 0 AND due < $1`,
		due, user.Shard(), id)
	return err
}

// forgetOldest keeps only the newest events of a user that are over.
func forgetOldest(tx *store.Tx, user matrix.UserID, keep int) error {
	_, err := tx.Exec(`DELETE FROM delayed_events WHERE ushard = $1 AND user_id = $2 AND ended > 0 AND ended <= (
			SELECT ended FROM delayed_events WHERE ushard = $1 AND user_id = $2 AND ended > 0 ORDER BY ended DESC LIMIT 1 OFFSET $3)`,
		user.Shard(), string(user), int64(keep))
	return err
}

func deleteEnded(tx *store.Tx, before int64) error {
	_, err := tx.Exec(`DELETE FROM delayed_events WHERE ended > 0 AND ended < $1`, before)
	return err
}

func deleteOf(tx *store.Tx, user matrix.UserID) error {
	_, err := tx.Exec(`DELETE FROM delayed_events WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return err
}
