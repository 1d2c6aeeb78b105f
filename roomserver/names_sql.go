package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// readKnown finds what is known of events by their ids.
func readKnown(tx *store.Tx, ids []matrix.EventID) (map[matrix.EventID]known, error) {
	out := make(map[matrix.EventID]known, len(ids))
	err := store.Each(tx, func(r store.Row) error {
		var id matrix.EventID
		var k known
		if err := r.Scan(&id, &k.nid, &k.room, &k.status, &k.tuple); err != nil {
			return err
		}
		out[id] = k
		return nil
	}, `
		SELECT i.event_id, i.event_nid, i.room_nid, COALESCE(e.status, 0), COALESCE(e.tuple_nid, 0) FROM event_ids i
		LEFT JOIN events e ON e.shard = i.event_nid & 255 AND e.event_nid = i.event_nid
		WHERE i.event_id {IN $1 TEXT}`, store.List(ids))
	return out, err
}
