package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// eventRow is an event before its bytes are parsed.
type eventRow struct {
	event   Event
	id      matrix.EventID
	version string
	json    []byte
}

func readEvents(tx *store.Tx, nids []int64) ([]eventRow, error) {
	where, args := named("e.", "event_nid", nids)
	return store.Select(tx, func(r store.Row) (eventRow, error) {
		var row eventRow
		var codec, related int64
		var prev, auth []byte
		e := &row.event
		err := r.Scan(&e.NID, &e.Room, &row.id, &e.Status, &e.Tuple, &e.SnapBefore, &e.SnapAfter, &e.Rank, &prev, &auth,
			&e.RedactedBy, &e.TxnDevice, &e.TxnID, &codec, &row.json, &row.version, &related)
		e.Related = related != 0
		if err != nil {
			return row, err
		}
		if e.PrevNIDs, err = decodeNIDs(e.NID&0xff, prev); err != nil {
			return row, err
		}
		e.AuthNIDs, err = decodeNIDs(e.NID&0xff, auth)
		return row, err
	}, `
		SELECT e.event_nid, e.room_nid, e.event_id, e.status, e.tuple_nid, e.snap_before, e.snap_after, e.auth_rank, e.prev, e.auth,
			e.redacted_by, e.txn_device, e.txn_id, j.codec, j.json, r.version,
			e.related
		FROM events e
		JOIN event_json j ON j.shard = e.shard AND j.event_nid = e.event_nid
		JOIN rooms r ON r.shard = e.shard AND r.room_nid = e.room_nid
		WHERE `+where, args...)
}

// marks are what may change of an event in the course of time.
type marks struct {
	redactedBy int64
	related    bool
}

// readMarks tells which of the events are redacted, or have others that are about them.
func readMarks(tx *store.Tx, nids []int64) (map[int64]marks, error) {
	out := make(map[int64]marks)
	err := store.Each(tx, func(r store.Row) error {
		var nid, by, related int64
		if err := r.Scan(&nid, &by, &related); err != nil {
			return err
		}
		out[nid] = marks{by, related != 0}
		return nil
	}, `SELECT event_nid, redacted_by, related FROM events
		WHERE (shard, event_nid) IN {NIDS $1} AND (redacted_by <> 0 OR related <> 0)`, store.List(nids))
	return out, err
}

func eventNID(tx *store.Tx, id matrix.EventID) (nid int64, room RoomNID, ok bool, err error) {
	_, ok, err = store.One(tx, func(r store.Row) (struct{}, error) {
		return struct{}{}, r.Scan(&nid, &room)
	}, `SELECT event_nid, room_nid FROM event_ids WHERE event_id = $1`, string(id))
	return nid, room, ok, err
}
