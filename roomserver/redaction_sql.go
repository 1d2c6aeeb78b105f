package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func (b *batch) writeRedactions() error {
	for _, r := range b.redact {
		_, err := b.tx.Exec(`
			UPDATE events SET redacted_by = $1 WHERE shard = $2 AND event_nid = $3 AND redacted_by = 0`,
			r.by, r.target&0xff, r.target)
		if err != nil {
			return err
		}
		if err := b.dropRelation(r.of); err != nil {
			return err
		}
	}
	if err := b.forgetLater(); err != nil {
		return err
	}
	var rows [][]any
	for _, a := range b.awaited {
		rows = append(rows, []any{a.room.Shard(), int64(a.room), string(a.target), a.by})
	}
	return bulk(b.tx, store.Bulk{
		Table: "awaited_redactions", Columns: []string{"shard", "room_nid", "target", "event_nid"}, Rows: rows,
		OnConflict: `ON CONFLICT (shard, room_nid, target, event_nid) DO NOTHING`,
	})
}

// awaitedBy finds the redactions that came before their target.
func awaitedBy(tx *store.Tx, room RoomNID, target matrix.EventID) ([]int64, error) {
	return store.Select(tx, scanNID, `
		SELECT event_nid FROM awaited_redactions WHERE shard = $1 AND room_nid = $2 AND target = $3`,
		room.Shard(), int64(room), string(target))
}

// awaitedIn finds the redactions in rooms that came before some targets. A target is of one room.
func awaitedIn(tx *store.Tx, rooms []int64, targets []matrix.EventID, found func(room RoomNID, target matrix.EventID, by int64)) error {
	return store.Each(tx, func(r store.Row) error {
		var room RoomNID
		var target matrix.EventID
		var by int64
		err := r.Scan(&room, &target, &by)
		found(room, target, by)
		return err
	}, `SELECT room_nid, target, event_nid FROM awaited_redactions
		WHERE (shard, room_nid) IN {NIDS $1} AND target {IN $2 TEXT}`, store.List(rooms), store.List(targets))
}

// replaceBytes replaces the stored bytes of an event.
func replaceBytes(tx *store.Tx, nid int64, json []byte) error {
	_, err := tx.Exec(`UPDATE event_json SET codec = 0, json = $3 WHERE shard = $1 AND event_nid = $2`, nid&0xff, nid, json)
	return err
}
