package sender

import (
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

// countDestinations counts the servers for which something waits, and those that are not reached.
func countDestinations(tx *store.Tx) (waiting, failing int64, err error) {
	waiting, _, err = store.One(tx, scanInt, `SELECT count(*) FROM destinations WHERE due < $1`, never)
	if err != nil {
		return 0, 0, err
	}
	failing, _, err = store.One(tx, scanInt, `SELECT count(*) FROM destinations WHERE due < $1 AND failing > 0`, never)
	return waiting, failing, err
}

// furthestBehind reads since when events wait for the servers for which they wait longest.
func furthestBehind(tx *store.Tx, limit int) (map[matrix.ServerName]int64, error) {
	out := make(map[matrix.ServerName]int64)
	err := store.Each(tx, func(r store.Row) error {
		var server matrix.ServerName
		var since int64
		err := r.Scan(&server, &since)
		out[server] = since
		return err
	}, `SELECT server, min(queued) FROM destination_rooms GROUP BY server ORDER BY min(queued) LIMIT $1`, int64(limit))
	return out, err
}

const destinationColumns = `d.server, d.reached, d.failing, d.pause, d.retry_at, d.failure,
	(SELECT count(DISTINCT r.room_nid) FROM destination_rooms r WHERE r.server = d.server),
	COALESCE((SELECT min(r.queued) FROM destination_rooms r WHERE r.server = d.server), 0)`

func scanDestination(r store.Row) (d Destination, err error) {
	return d, r.Scan(&d.Server, &d.Reached, &d.Failing, &d.Pause, &d.RetryAt, &d.Failure, &d.Waiting, &d.Since)
}

func readDestination(tx *store.Tx, server matrix.ServerName) (Destination, bool, error) {
	return store.One(tx, scanDestination, `SELECT `+destinationColumns+` FROM destinations d WHERE d.server = $1`, string(server))
}

const queried = `d.server LIKE $1 ESCAPE '\' AND (d.failing > 0 OR CAST($2 AS {INT8}) = 0)`

func (q Query) part() string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(q.Name) + "%"
}

func readDestinations(tx *store.Tx, q Query) ([]Destination, error) {
	return store.Select(tx, scanDestination, `
		SELECT `+destinationColumns+` FROM destinations d WHERE `+queried+` ORDER BY d.server LIMIT $3 OFFSET $4`,
		q.part(), q.Failing, int64(q.Limit), q.From)
}

func countQueried(tx *store.Tx, q Query) (int64, error) {
	n, _, err := store.One(tx, scanInt, `SELECT count(*) FROM destinations d WHERE `+queried, q.part(), q.Failing)
	return n, err
}

func readDestinationRooms(tx *store.Tx, server matrix.ServerName, from int64, limit int) ([]DestinationRoom, error) {
	return store.Select(tx, func(r store.Row) (d DestinationRoom, err error) {
		return d, r.Scan(&d.Room, &d.From, &d.Upto, &d.Queued)
	}, `
		SELECT i.room_id, min(r.from_seq), max(r.upto_seq), min(r.queued) FROM destination_rooms r
		JOIN rooms i ON i.shard = (r.room_nid & 255) AND i.room_nid = r.room_nid
		WHERE r.server = $1 GROUP BY i.room_id ORDER BY i.room_id LIMIT $2 OFFSET $3`, string(server), int64(limit), from)
}

// readNeighbours reads servers with which rooms are shared and that are not left alone.
func readNeighbours(tx *store.Tx, but matrix.ServerName, limit int) ([]matrix.ServerName, error) {
	return store.Select(tx, func(r store.Row) (s matrix.ServerName, err error) { return s, r.Scan(&s) }, `
		SELECT DISTINCT r.server FROM room_servers r WHERE r.joined > 0 AND r.server <> $1
			AND NOT EXISTS (SELECT 1 FROM destinations d WHERE d.server = r.server AND d.retry_at > {NOW}) LIMIT $2`,
		string(but), int64(limit))
}
