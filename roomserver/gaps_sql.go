package roomserver

import "astrocyte/store"

// gap is a place of the timeline before which events are missing.
type gap struct {
	room    RoomNID
	seq     int64 // of the first event after it
	missing []int64
}

func insertGap(tx *store.Tx, g gap) error {
	_, err := tx.Exec(`INSERT INTO room_gaps (shard, room_nid, seq, missing) VALUES ($1, $2, $3, $4)`,
		g.room.Shard(), int64(g.room), g.seq, encodeNIDs(g.missing))
	return err
}

// writeGap writes what is still missing; where nothing is, the gap is closed.
func writeGap(tx *store.Tx, g gap) error {
	query, args := `DELETE FROM room_gaps WHERE shard = $1 AND room_nid = $2 AND seq = $3`,
		[]any{g.room.Shard(), int64(g.room), g.seq}
	if len(g.missing) > 0 {
		query = `UPDATE room_gaps SET missing = $4 WHERE shard = $1 AND room_nid = $2 AND seq = $3`
		args = append(args, encodeNIDs(g.missing))
	}
	_, err := tx.Exec(query, args...)
	return err
}

// gapsOf reads the gaps of a room, the newest first.
func gapsOf(tx *store.Tx, room RoomNID) ([]gap, error) {
	return store.Select(tx, func(r store.Row) (gap, error) {
		g := gap{room: room}
		var missing []byte
		if err := r.Scan(&g.seq, &missing); err != nil {
			return g, err
		}
		var err error
		g.missing, err = decodeNIDs(room.Shard(), missing)
		return g, err
	}, `SELECT seq, missing FROM room_gaps WHERE shard = $1 AND room_nid = $2 ORDER BY seq DESC`, room.Shard(), int64(room))
}
