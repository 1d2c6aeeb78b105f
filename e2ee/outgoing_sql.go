package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// queueLists queues changes of a user's devices, the first of which has the stream id first, for servers.
func queueLists(tx *store.Tx, servers []matrix.ServerName, user matrix.UserID, devices []matrix.DeviceID, first int64) error {
	return queueDevices(tx, servers, user, devices, first, false)
}

// queueAnnounced queues devices that did not change, for servers with which their user shares a room from now on.
func queueAnnounced(tx *store.Tx, servers []matrix.ServerName, user matrix.UserID, devices []matrix.DeviceID, first int64) error {
	return queueDevices(tx, servers, user, devices, first, true)
}

// queueDevices queues devices. One that has changed is no less changed because it is announced.
func queueDevices(tx *store.Tx, servers []matrix.ServerName, user matrix.UserID, devices []matrix.DeviceID, first int64, announced bool) error {
	b := store.Bulk{
		Table: "outbound_lists", Columns: []string{"server", "user_id", "device_id", "pos", "announced"},
		OnConflict: `ON CONFLICT (server, user_id, device_id) DO UPDATE SET pos = excluded.pos,
			announced = CASE WHEN outbound_lists.announced < excluded.announced THEN outbound_lists.announced ELSE excluded.announced END`,
	}
	for _, to := range servers {
		for i, device := range devices {
			b.Rows = append(b.Rows, []any{string(to), string(user), string(device), first + int64(i), announced})
		}
	}
	_, err := tx.Bulk(b)
	return err
}

func readQueuedLists(tx *store.Tx, to matrix.ServerName, limit int) ([]listChange, error) {
	return store.Select(tx, func(r store.Row) (c listChange, err error) {
		return c, r.Scan(&c.user, &c.device, &c.pos, &c.announced)
	}, `SELECT user_id, device_id, pos, announced FROM outbound_lists WHERE server = $1 ORDER BY pos LIMIT $2`, string(to), int64(limit))
}

// readTold reads the last stream id of a user that a server has acknowledged; 0: none.
func readTold(tx *store.Tx, to matrix.ServerName, user matrix.UserID) (int64, error) {
	pos, _, err := store.One(tx, func(r store.Row) (pos int64, err error) { return pos, r.Scan(&pos) },
		`SELECT pos FROM outbound_told WHERE server = $1 AND user_id = $2`, string(to), string(user))
	return pos, err
}

// noteTold notes what a server has acknowledged of a user.
func noteTold(tx *store.Tx, to matrix.ServerName, user matrix.UserID, t listsTold) error {
	if t.stream > 0 {
		_, err := tx.Exec(`
			INSERT INTO outbound_told (server, user_id, pos) VALUES ($1, $2, $3)
			ON CONFLICT (server, user_id) DO UPDATE SET pos = excluded.pos WHERE outbound_told.pos < excluded.pos`,
			string(to), string(user), t.stream)
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec(`DELETE FROM outbound_lists WHERE server = $1 AND user_id = $2 AND pos <= $3`, string(to), string(user), t.upto)
	return err
}

// insertOutbound queues messages at the positions up to last.
func insertOutbound(tx *store.Tx, queue []outboundMessage, last int64) error {
	b := store.Bulk{Table: "outbound_messages", Columns: []string{"server", "pos", "message"}}
	first := last - int64(len(queue)) + 1
	for i, m := range queue {
		b.Rows = append(b.Rows, []any{string(m.to), first + int64(i), m.content})
	}
	_, err := tx.Bulk(b)
	return err
}

func readOutbound(tx *store.Tx, to matrix.ServerName, limit int) ([]placed, error) {
	return store.Select(tx, func(r store.Row) (p placed, err error) {
		var message []byte
		err = r.Scan(&p.pos, &message)
		p.message = message
		return p, err
	}, `SELECT pos, message FROM outbound_messages WHERE server = $1 ORDER BY pos LIMIT $2`, string(to), int64(limit))
}

func deleteOutbound(tx *store.Tx, to matrix.ServerName, upto int64) error {
	_, err := tx.Exec(`DELETE FROM outbound_messages WHERE server = $1 AND pos <= $2`, string(to), upto)
	return err
}

func readDestinations(tx *store.Tx) ([]matrix.ServerName, error) {
	return store.Select(tx, func(r store.Row) (s matrix.ServerName, err error) { return s, r.Scan(&s) },
		`SELECT server FROM outbound_messages UNION SELECT server FROM outbound_lists`)
}

// boundOutbound drops the oldest messages for servers for which more wait than may.
func boundOutbound(tx *store.Tx, most int64) error {
	long, err := store.Select(tx, func(r store.Row) (s matrix.ServerName, err error) { return s, r.Scan(&s) },
		`SELECT server FROM outbound_messages GROUP BY server HAVING COUNT(*) > $1`, most)
	if err != nil {
		return err
	}
	for _, to := range long {
		_, err := tx.Exec(`
			DELETE FROM outbound_messages WHERE server = $1 AND pos <= (
				SELECT pos FROM outbound_messages WHERE server = $1 ORDER BY pos DESC LIMIT 1 OFFSET $2)`, string(to), most)
		if err != nil {
			return err
		}
	}
	return nil
}
