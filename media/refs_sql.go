package media

import "astrocyte/store"

func insertRefs(tx *store.Tx, event int64, ids []ID) error {
	b := store.Bulk{
		Table: "media_refs", Columns: []string{"origin", "media_id", "event_nid"},
		OnConflict: `ON CONFLICT (origin, media_id, event_nid) DO NOTHING`,
	}
	for _, id := range ids {
		b.Rows = append(b.Rows, []any{string(id.Origin), id.Media, event})
	}
	_, err := tx.Bulk(b)
	return err
}

// mediaRef is that an event shows a file.
type mediaRef struct {
	event int64
	id    ID
}

// refsOf reads which files some events show.
func refsOf(tx *store.Tx, events []int64) ([]mediaRef, error) {
	return store.Select(tx, func(row store.Row) (ref mediaRef, err error) {
		return ref, row.Scan(&ref.event, &ref.id.Origin, &ref.id.Media)
	}, `SELECT event_nid, origin, media_id FROM media_refs WHERE event_nid {IN $1 INT8} ORDER BY origin, media_id, event_nid`, store.List(events))
}

func deleteRefs(tx *store.Tx, events []int64) error {
	_, err := tx.Exec(`DELETE FROM media_refs WHERE event_nid {IN $1 INT8}`, store.List(events))
	return err
}

// hasRefs says whether any event shows a file.
func hasRefs(tx *store.Tx, id ID) (bool, error) {
	_, found, err := store.One(tx, scanInt, `
		SELECT event_nid FROM media_refs WHERE origin = $1 AND media_id = $2 LIMIT 1`, string(id.Origin), id.Media)
	return found, err
}
