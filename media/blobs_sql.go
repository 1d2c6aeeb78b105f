package media

import (
	"math"

	"astrocyte/matrix"
	"astrocyte/store"
)

// The states of a file in the storage.
const (
	blobArriving = 0
	blobHere     = 1
	blobDeleting = 2
)

// untouched is the touched of a file that something refers to, so that the sweep does not look at it.
const untouched = math.MaxInt64

// blobRow is what the database knows of a file.
type blobRow struct {
	hash  Hash
	size  int64
	place string
	state int64
}

func scanBlob(row store.Row) (b blobRow, err error) {
	var hash []byte
	err = row.Scan(&hash, &b.size, &b.place, &b.state)
	copy(b.hash[:], hash)
	return b, err
}

const blobColumns = `hash, size, place, state`

func blobOf(tx *store.Tx, h Hash) (blobRow, bool, error) {
	return store.One(tx, scanBlob, `SELECT `+blobColumns+` FROM media_blobs WHERE hash = $1`, h[:])
}

// lockBlob reads a file's row, and keeps it as it is to the end of the transaction.
func lockBlob(tx *store.Tx, h Hash) (blobRow, bool, error) {
	return store.One(tx, scanBlob, `SELECT `+blobColumns+` FROM media_blobs WHERE hash = $1 {FOR UPDATE}`, h[:])
}

// arriveBlob notes that a file is about to be brought, and tells whether it is there. One that is just
// being deleted is errDeleting.
func arriveBlob(tx *store.Tx, h Hash, size int64, place string, now int64) (blobRow, error) {
	_, err := tx.Exec(`
		INSERT INTO media_blobs (hash, size, place, state, touched) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (hash) DO UPDATE SET touched = excluded.touched WHERE media_blobs.state <> $6`,
		h[:], size, place, int64(blobArriving), now, int64(blobDeleting))
	if err != nil {
		return blobRow{}, err
	}
	row, found, err := blobOf(tx, h)
	if err == nil && (!found || row.state == blobDeleting) {
		err = errDeleting
	}
	return row, err
}

// settle notes that a file is here, and that something refers to it.
func settle(tx *store.Tx, h Hash) error {
	_, err := tx.Exec(`UPDATE media_blobs SET state = $1, touched = $2 WHERE hash = $3`, int64(blobHere), int64(untouched), h[:])
	return err
}

// loosen lets the sweep look at a file that something no longer refers to. One that is being brought
// again keeps its time.
func loosen(tx *store.Tx, h Hash) error {
	_, err := tx.Exec(`UPDATE media_blobs SET touched = 0 WHERE hash = $1 AND touched = $2`, h[:], int64(untouched))
	return err
}

// loose lists files that the sweep must look at.
func loose(tx *store.Tx, before int64, limit int) ([]blobRow, error) {
	return store.Select(tx, scanBlob, `
		SELECT `+blobColumns+` FROM media_blobs WHERE touched < $1 ORDER BY touched LIMIT $2`, before, int64(limit))
}

// touchedOf reads when a file was last brought.
func touchedOf(tx *store.Tx, h Hash) (int64, error) {
	n, _, err := store.One(tx, scanInt, `SELECT touched FROM media_blobs WHERE hash = $1`, h[:])
	return n, err
}

// referred says whether something refers to a file. A small image is its own thumbnail, which does not count.
func referred(tx *store.Tx, h Hash) (bool, error) {
	n, _, err := store.One(tx, scanInt, `
		SELECT CASE WHEN EXISTS (SELECT 1 FROM media WHERE hash = $1)
			OR EXISTS (SELECT 1 FROM media_thumbnails WHERE thumbnail = $1 AND hash <> $1) THEN 1 ELSE 0 END`, h[:])
	return n == 1, err
}

func doom(tx *store.Tx, h Hash) error {
	_, err := tx.Exec(`UPDATE media_blobs SET state = $1, touched = 0 WHERE hash = $2`, int64(blobDeleting), h[:])
	return err
}

func deleteBlob(tx *store.Tx, h Hash) error {
	_, err := tx.Exec(`DELETE FROM media_blobs WHERE hash = $1 AND state = $2`, h[:], int64(blobDeleting))
	return err
}

// thumbnail is a thumbnail that was made.
type thumbnail struct {
	hash        Hash
	contentType string
	size        int64
	place       string
}

func scanThumbnail(row store.Row) (t thumbnail, err error) {
	var hash []byte
	err = row.Scan(&hash, &t.contentType, &t.size, &t.place)
	copy(t.hash[:], hash)
	return t, err
}

func thumbnailOf(tx *store.Tx, h Hash, form string) (thumbnail, bool, error) {
	return store.One(tx, scanThumbnail, `
		SELECT t.thumbnail, t.content_type, b.size, b.place FROM media_thumbnails t JOIN media_blobs b ON b.hash = t.thumbnail
		WHERE t.hash = $1 AND t.form = $2`, h[:], form)
}

func insertThumbnail(tx *store.Tx, of Hash, form string, t thumbnail) error {
	_, err := tx.Exec(`
		INSERT INTO media_thumbnails (hash, form, thumbnail, content_type) VALUES ($1, $2, $3, $4)
		ON CONFLICT (hash, form) DO UPDATE SET thumbnail = excluded.thumbnail, content_type = excluded.content_type`,
		of[:], form, t.hash[:], t.contentType)
	return err
}

// dropThumbnails forgets the thumbnails of a file, and lets the sweep look at theirs.
func dropThumbnails(tx *store.Tx, of Hash) error {
	thumbs, err := store.Select(tx, func(row store.Row) (h Hash, err error) {
		var hash []byte
		err = row.Scan(&hash)
		copy(h[:], hash)
		return h, err
	}, `SELECT thumbnail FROM media_thumbnails WHERE hash = $1`, of[:])
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM media_thumbnails WHERE hash = $1`, of[:]); err != nil {
		return err
	}
	for _, h := range thumbs {
		if err := loosen(tx, h); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere lists files that are in another storage than one, after a hash.
func elsewhere(tx *store.Tx, place string, after []byte, limit int) ([]blobRow, error) {
	return store.Select(tx, scanBlob, `
		SELECT `+blobColumns+` FROM media_blobs WHERE place <> $1 AND state = $2 AND hash > $3 ORDER BY hash LIMIT $4`,
		place, int64(blobHere), after, int64(limit))
}

func countElsewhere(tx *store.Tx, place string) (files, bytes int64, err error) {
	type sums struct{ files, bytes int64 }
	s, _, err := store.One(tx, func(row store.Row) (s sums, err error) { return s, row.Scan(&s.files, &s.bytes) }, `
		SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS {INT8}) FROM media_blobs WHERE place <> $1 AND state = $2`, place, int64(blobHere))
	return s.files, s.bytes, err
}

// relocate notes that a file is in another storage now; false where it is no longer as it was.
func relocate(tx *store.Tx, b blobRow, place string) (bool, error) {
	n, err := tx.Exec(`UPDATE media_blobs SET place = $1 WHERE hash = $2 AND place = $3 AND state = $4`, place, b.hash[:], b.place, int64(blobHere))
	return n == 1, err
}

// usage is what somebody has uploaded.
type usage struct{ files, bytes, dayBytes int64 }

func usageOf(tx *store.Tx, user matrix.UserID, day int64) (usage, error) {
	u, _, err := store.One(tx, func(row store.Row) (u usage, err error) {
		var of int64
		err = row.Scan(&u.files, &u.bytes, &of, &u.dayBytes)
		if of != day {
			u.dayBytes = 0
		}
		return u, err
	}, `SELECT files, bytes, day, day_bytes FROM media_usage WHERE user_id = $1`, string(user))
	return u, err
}

// addUsage counts files and bytes of a user, or of the server where user is empty. What is taken away does not
// give the day back.
func addUsage(tx *store.Tx, user matrix.UserID, files, bytes, day int64) error {
	_, err := tx.Exec(`
		INSERT INTO media_usage (user_id, files, bytes, day, day_bytes) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id) DO UPDATE SET files = media_usage.files + excluded.files, bytes = media_usage.bytes + excluded.bytes,
			day_bytes = CASE WHEN media_usage.day = excluded.day THEN media_usage.day_bytes ELSE 0 END + excluded.day_bytes,
			day = excluded.day`, string(user), files, bytes, day, max(bytes, 0))
	return err
}
