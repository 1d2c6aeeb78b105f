package sender

import (
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// never is when a destination is due for which nothing waits.
const never = int64(1) << 62

// makeDue makes destinations due: at once, or when their pause is over.
func makeDue(tx *store.Tx, servers []matrix.ServerName) error {
	if len(servers) == 0 {
		return nil
	}
	var rows [][]any
	for _, server := range slices.Compact(slices.Sorted(slices.Values(servers))) { // in one order, as the rows are locked
		rows = append(rows, []any{string(server), int64(0), int64(0), int64(0), int64(0), int64(0), "", "", int64(0)})
	}
	_, err := tx.Bulk(store.Bulk{
		Table:   "destinations",
		Columns: []string{"server", "due", "reached", "failing", "pause", "retry_at", "failure", "holder", "held_until"},
		Rows:    rows,
		OnConflict: `ON CONFLICT (server) DO UPDATE SET
			due = CASE WHEN destinations.due < destinations.retry_at THEN destinations.due ELSE destinations.retry_at END`,
	})
	return err
}

// writeStretches adds to what waits. A replay changes nothing.
func writeStretches(tx *store.Tx, found marks, now int64) error {
	var rows [][]any
	for k, part := range found {
		rows = append(rows, []any{string(k.server), int64(k.room), k.since, part.from, part.upto, now})
	}
	_, err := tx.Bulk(store.Bulk{
		Table:   "destination_rooms",
		Columns: []string{"server", "room_nid", "since", "from_seq", "upto_seq", "queued"},
		Rows:    rows,
		OnConflict: `ON CONFLICT (server, room_nid, since) DO UPDATE SET upto_seq = excluded.upto_seq
			WHERE destination_rooms.upto_seq < excluded.upto_seq`,
	})
	return err
}
