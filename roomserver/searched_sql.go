package roomserver

import "astrocyte/store"

func walkTimelines(tx *store.Tx, after Passed, limit int) ([]Passed, error) {
	return store.Select(tx, scanPassed, `
		SELECT room_nid, seq, pos, event_nid, snap FROM timeline
		WHERE (shard, room_nid, seq) > ($1, $2, $3) ORDER BY shard, room_nid, seq LIMIT $4`,
		after.Room.Shard(), int64(after.Room), after.Seq, int64(limit))
}

// readItems finds the places of events.
func readItems(tx *store.Tx, nids []int64) (map[int64]Item, error) {
	out := make(map[int64]Item, len(nids))
	err := store.Each(tx, func(r store.Row) error {
		it, err := scanItem(r)
		out[it.NID] = it
		return err
	}, `
		SELECT t.seq, t.pos, t.event_nid, t.snap FROM events e
		JOIN timeline t ON t.shard = e.shard AND t.room_nid = e.room_nid AND t.seq = e.seq
		WHERE (e.shard, e.event_nid) IN {NIDS $1} AND e.status = $2`, store.List(nids), int64(statusAccepted))
	return out, err
}
