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

// refsOf reads which files an event shows.
func refsOf(tx *store.Tx, event int64) ([]ID, error) {
	return store.Select(tx, func(row store.Row) (id ID, err error) {
		return id, row.Scan(&id.Origin, &id.Media)
	}, `SELECT origin, media_id FROM media_refs WHERE event_nid = $1 ORDER BY origin, media_id`, event)
}

func deleteRefs(tx *store.Tx, event int64) error {
	_, err := tx.Exec(`DELETE FROM media_refs WHERE event_nid = $1`, event)
	return err
}

// hasRefs says whether any event shows a file.
func hasRefs(tx *store.Tx, id ID) (bool, error) {
	_, found, err := store.One(tx, scanInt, `
		SELECT event_nid FROM media_refs WHERE origin = $1 AND media_id = $2 LIMIT 1`, string(id.Origin), id.Media)
	return found, err
}
