package e2ee

import (
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/store"
)

// insertTxn notes a transaction id; false: it was used before.
func insertTxn(tx *store.Tx, s Sending, now int64) (bool, error) {
	n, err := tx.Exec(`
		INSERT INTO to_device_txns (ushard, user_id, device_id, event_type, txn_id, ts) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (ushard, user_id, device_id, event_type, txn_id) DO NOTHING`,
		s.Sender.Shard(), string(s.Sender), string(s.Device), s.Type, s.TxnID, now)
	return n == 1, err
}

func deleteOldTxns(tx *store.Tx, before int64) error {
	_, err := tx.Exec(`DELETE FROM to_device_txns WHERE ts < $1`, before)
	return err
}

// insertInbound notes a message of another server; false: it came before.
func insertInbound(tx *store.Tx, from matrix.ServerName, id string, now int64) (bool, error) {
	n, err := tx.Exec(`
		INSERT INTO inbound_messages (server, message_id, ts) VALUES ($1, $2, $3)
		ON CONFLICT (server, message_id) DO NOTHING`, string(from), id, now)
	return n == 1, err
}

func deleteOldInbound(tx *store.Tx, before int64) error {
	_, err := tx.Exec(`DELETE FROM inbound_messages WHERE ts < $1`, before)
	return err
}

// allDevices reads the devices of a user, also those without keys.
func allDevices(tx *store.Tx, user matrix.UserID) ([]matrix.DeviceID, error) {
	return store.Select(tx, func(r store.Row) (id matrix.DeviceID, err error) { return id, r.Scan(&id) }, `
		SELECT device_id FROM devices
		WHERE ushard = $1 AND user_id = $2 ORDER BY device_id`, user.Shard(), string(user))
}

// lockDevices reads those of the devices that are there, sorted, and keeps them from being deleted until the
// commit: so a message cannot come into the queue of a device that is gone.
func lockDevices[T any](tx *store.Tx, user matrix.UserID, wanted map[matrix.DeviceID]T) ([]matrix.DeviceID, error) {
	scan := func(r store.Row) (id matrix.DeviceID, err error) { return id, r.Scan(&id) }
	if _, all := wanted[everyDevice]; all {
		return store.Select(tx, scan, `
			SELECT device_id FROM devices
			WHERE ushard = $1 AND user_id = $2 ORDER BY device_id {FOR UPDATE}`, user.Shard(), string(user))
	}
	ids := make([]string, 0, len(wanted))
	for id := range wanted {
		ids = append(ids, string(id))
	}
	return store.Select(tx, scan, `
		SELECT device_id FROM devices
		WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT} ORDER BY device_id {FOR UPDATE}`,
		user.Shard(), string(user), store.List(ids))
}

// insertMessages queues messages at the positions up to last.
func insertMessages(tx *store.Tx, queue []queued, last int64) error {
	b := store.Bulk{Table: "to_device", Columns: []string{"ushard", "user_id", "device_id", "pos", "message"}}
	first := last - int64(len(queue)) + 1
	for i, m := range queue {
		b.Rows = append(b.Rows, []any{m.user.Shard(), string(m.user), string(m.device), first + int64(i), m.message})
	}
	_, err := tx.Bulk(b)
	return err
}

// placed is a message at its position.
type placed struct {
	pos     int64
	message json.RawMessage
}

func readMessages(tx *store.Tx, d deviceID, after int64, limit int) ([]placed, error) {
	return store.Select(tx, func(r store.Row) (p placed, err error) {
		var message []byte
		err = r.Scan(&p.pos, &message)
		p.message = message
		return p, err
	}, `
		SELECT pos, message FROM to_device
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND pos > $4 ORDER BY pos LIMIT $5`,
		d.user.Shard(), string(d.user), string(d.device), after, int64(limit))
}

// readOlder says whether there is no message up to a position, and whether there are some up to another.
func readOlder(tx *store.Tx, d deviceID, upto, had int64) (none, some bool, err error) {
	first, found, err := store.One(tx, func(r store.Row) (pos int64, err error) { return pos, r.Scan(&pos) }, `
		SELECT pos FROM to_device
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND pos <= $4 ORDER BY pos LIMIT 1`,
		d.user.Shard(), string(d.user), string(d.device), upto)
	return !found, found && first <= had, err
}

func deleteMessages(tx *store.Tx, d deviceID, upto int64) error {
	_, err := tx.Exec(`
		DELETE FROM to_device
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND pos <= $4`,
		d.user.Shard(), string(d.user), string(d.device), upto)
	return err
}

// readLongQueues reads the queues of a shard that have more messages than they may, and where the surplus ends.
func readLongQueues(tx *store.Tx, shard, most int64) ([]longQueue, error) {
	long, err := store.Select(tx, func(r store.Row) (q longQueue, err error) {
		return q, r.Scan(&q.user, &q.device)
	}, `
		SELECT user_id, device_id FROM to_device
		WHERE ushard = $1 GROUP BY user_id, device_id HAVING COUNT(*) > $2`, shard, most)
	if err != nil {
		return nil, err
	}
	for i, q := range long {
		long[i].upto, _, err = store.One(tx, func(r store.Row) (pos int64, err error) { return pos, r.Scan(&pos) }, `
			SELECT pos FROM to_device
			WHERE ushard = $1 AND user_id = $2 AND device_id = $3 ORDER BY pos DESC LIMIT 1 OFFSET $4`,
			shard, string(q.user), string(q.device), most)
		if err != nil {
			return nil, err
		}
	}
	return long, nil
}
