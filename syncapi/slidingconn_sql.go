package syncapi

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// readConnection reads what the client of a connection knows; nil: it is not kept any more.
func readConnection(tx *store.Tx, g generationKey) (*connection, error) {
	c, _, err := store.One(tx, func(r store.Row) (*connection, error) {
		var rooms []byte
		var used int64
		if err := r.Scan(&rooms, &used); err != nil {
			return nil, err
		}
		c, err := decodeConnection(rooms)
		if err == nil {
			c.identity, c.generation, c.used = g.identity, g.generation, used
		}
		return c, err
	}, `
		SELECT rooms, used FROM sliding_connections
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND conn_id = $4 AND generation = $5 AND identity = $6`,
		g.user.Shard(), string(g.user), string(g.device), g.conn, g.generation, g.identity)
	return c, err
}

// connectionThere says whether what the client of a connection knows is still kept.
func connectionThere(tx *store.Tx, g generationKey) (bool, error) {
	_, there, err := store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) }, `
		SELECT used FROM sliding_connections
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND conn_id = $4 AND generation = $5 AND identity = $6`,
		g.user.Shard(), string(g.user), string(g.device), g.conn, g.generation, g.identity)
	return there, err
}

func writeConnection(tx *store.Tx, key connectionKey, c *connection) error {
	_, err := tx.Exec(`
		INSERT INTO sliding_connections (ushard, user_id, device_id, conn_id, generation, identity, rooms, used)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (ushard, user_id, device_id, conn_id, generation) DO UPDATE
		SET identity = excluded.identity, rooms = excluded.rooms, used = excluded.used`,
		key.user.Shard(), string(key.user), string(key.device), key.conn, c.generation, c.identity, encodeConnection(c), c.used)
	return err
}

// dropConnections makes room for another generation: it forgets those before the one that the client shows, those
// of the connection's past lives, the oldest of many answers to the same position, and where the connection is
// new, the device's connections that were not used for longest.
func dropConnections(tx *store.Tx, key connectionKey, base, identity int64) error {
	of := []any{key.user.Shard(), string(key.user), string(key.device), key.conn}
	_, err := tx.Exec(`
		DELETE FROM sliding_connections
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND conn_id = $4
			AND (generation < $5 OR identity <> $6 OR generation > $5 AND generation <= COALESCE((
				SELECT generation FROM sliding_connections
				WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND conn_id = $4 AND generation > $5
				ORDER BY generation DESC LIMIT 1 OFFSET $7), 0))`,
		append(of, base, identity, int64(answersMost-1))...)
	if err != nil || base != 0 {
		return err
	}
	_, err = tx.Exec(`
		DELETE FROM sliding_connections
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND conn_id IN (
			SELECT conn_id FROM sliding_connections
			WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND conn_id <> $4
			GROUP BY conn_id ORDER BY MAX(used) DESC, conn_id LIMIT 1000 OFFSET $5)`,
		append(of, int64(connectionsMost-1))...)
	return err
}

func touchConnection(tx *store.Tx, key connectionKey, generation, now int64) error {
	_, err := tx.Exec(`
		UPDATE sliding_connections SET used = $1
		WHERE ushard = $2 AND user_id = $3 AND device_id = $4 AND conn_id = $5 AND generation = $6`,
		now, key.user.Shard(), string(key.user), string(key.device), key.conn, generation)
	return err
}

func deleteConnections(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	_, err := tx.Exec(`DELETE FROM sliding_connections WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		user.Shard(), string(user), store.List(devices))
	return err
}

// deleteUnused deletes connections that nobody used since a time.
func deleteUnused(tx *store.Tx, before int64) error {
	_, err := tx.Exec(`DELETE FROM sliding_connections WHERE used < $1`, before)
	return err
}
