package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// relative is an event that is about another one.
type relative struct {
	seq int64
	id  matrix.EventID
}

// relatedTo reads the events behind a place that are about another one, by the kinds of their relations; all
// kinds, where none is named.
func relatedTo(tx *store.Tx, room RoomNID, target matrix.EventID, kinds []string, after int64, limit int) ([]relative, error) {
	query := `SELECT seq, event_id FROM relations WHERE shard = $1 AND room_nid = $2 AND target = $3 AND seq > $4`
	args := []any{room.Shard(), int64(room), string(target), after, int64(limit)}
	if kinds != nil {
		query += ` AND kind {IN $6 TEXT}`
		args = append(args, store.List(kinds))
	}
	return store.Select(tx, func(r store.Row) (e relative, err error) { return e, r.Scan(&e.seq, &e.id) }, query+` ORDER BY seq LIMIT $5`, args...)
}
