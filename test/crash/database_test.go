package crash

import (
	"testing"

	"astrocyte/store"
	"astrocyte/testkit"
)

// checkDatabase checks what cannot be seen from outside. The server has ended.
func checkDatabase(t *testing.T, dsn string) {
	t.Helper()
	db := testkit.DB(t, dsn)
	err := db.View(t.Context(), func(tx *store.Tx) error {
		for _, check := range []func(*testing.T, *store.Tx) error{checkRooms, checkNothingIsHalf} {
			if err := check(t, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("read the database: %v", err)
	}
}

// checkRooms checks that every room has one extremity, and that its head is the end of its timeline.
func checkRooms(t *testing.T, tx *store.Tx) error {
	return store.Each(tx, func(r store.Row) error {
		var room string
		var extremities []byte
		var headSeq, headPos, seq, pos, first, events int64
		if err := r.Scan(&room, &extremities, &headSeq, &headPos, &seq, &pos, &first, &events); err != nil {
			return err
		}
		n := 0
		for _, b := range extremities {
			if b < 0x80 { // the last byte of a varint
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s has %d extremities", room, n)
		}
		if headSeq != seq || headPos != pos || events != seq-first+1 {
			t.Errorf("%s: head at seq %d, pos %d, but the timeline ends at seq %d, pos %d and has %d events from %d",
				room, headSeq, headPos, seq, pos, events, first)
		}
		return nil
	}, `SELECT r.room_id, r.extremities, r.head_seq, r.head_pos, max(t.seq), max(t.pos), min(t.seq), count(*)
		FROM rooms r JOIN timeline t ON t.shard = r.shard AND t.room_nid = r.room_nid
		GROUP BY r.room_id, r.extremities, r.head_seq, r.head_pos`)
}

// checkNothingIsHalf counts rows that should not be without others.
func checkNothingIsHalf(t *testing.T, tx *store.Tx) error {
	for what, query := range map[string]string{
		"timeline events without a row of their own": `SELECT count(*) FROM timeline t
			LEFT JOIN events e ON e.shard = t.shard AND e.event_nid = t.event_nid WHERE e.event_nid IS NULL OR e.status <> 2`,
		"events without their bytes": `SELECT count(*) FROM events e
			LEFT JOIN event_json j ON j.shard = e.shard AND j.event_nid = e.event_nid WHERE j.event_nid IS NULL`,
		"events without their name": `SELECT count(*) FROM events e
			LEFT JOIN event_ids i ON i.event_id = e.event_id WHERE i.event_nid IS NULL OR i.event_nid <> e.event_nid`,
		"accepted events that are not in the timeline": `SELECT count(*) FROM events e
			LEFT JOIN timeline t ON t.shard = e.shard AND t.room_nid = e.room_nid AND t.seq = e.seq
			WHERE e.status = 2 AND (t.event_nid IS NULL OR t.event_nid <> e.event_nid)`,
		"places in the stream that two events share": `SELECT count(*) FROM
			(SELECT pos FROM timeline WHERE pos <> 0 GROUP BY pos HAVING count(*) > 1) twice`,
		"members whose room the user does not have": `SELECT count(*) FROM members m
			LEFT JOIN user_rooms u ON u.user_id = m.user_id AND u.room_nid = m.room_nid
			WHERE u.user_id IS NULL OR u.membership <> m.membership`,
		"rooms that count their members wrong": `SELECT count(*) FROM rooms r WHERE r.joined <>
			(SELECT count(*) FROM members m WHERE m.shard = r.shard AND m.room_nid = r.room_nid AND m.membership = 'join')`,
	} {
		n, _, err := store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) }, query)
		if err != nil {
			return err
		}
		if n != 0 {
			t.Errorf("the database has %d %s", n, what)
		}
	}
	return nil
}
