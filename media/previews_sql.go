package media

import "astrocyte/store"

// previewOf reads a preview that is not too old.
func previewOf(tx *store.Tx, url string, now int64) (answer []byte, found bool, err error) {
	return store.One(tx, func(row store.Row) (b []byte, err error) { return b, row.Scan(&b) },
		`SELECT answer FROM media_previews WHERE url = $1 AND expires > $2`, url, now)
}

func insertPreview(tx *store.Tx, url string, answer []byte, expires int64) error {
	_, err := tx.Exec(`
		INSERT INTO media_previews (url, answer, expires) VALUES ($1, $2, $3)
		ON CONFLICT (url) DO UPDATE SET answer = excluded.answer, expires = excluded.expires`, url, answer, expires)
	return err
}

func deletePreviews(tx *store.Tx, now int64) error {
	_, err := tx.Exec(`DELETE FROM media_previews WHERE expires <= $1`, now)
	return err
}
