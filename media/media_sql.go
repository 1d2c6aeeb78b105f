package media

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

const mediaColumns = `origin, media_id, user_id, hash, media.size, content_type, filename, created, accessed, expires, public, quarantined, protected`

func scanMedia(row store.Row) (*File, error) {
	f := new(File)
	var hash []byte
	var public, quarantined, protected int64
	err := row.Scan(&f.ID.Origin, &f.ID.Media, &f.Uploader, &hash, &f.Size, &f.ContentType, &f.Name, &f.Created, &f.accessed, &f.expires,
		&public, &quarantined, &protected)
	f.arrived = copy(f.Hash[:], hash) == len(f.Hash)
	f.Public, f.quarantined, f.protected = public != 0, quarantined != 0, protected != 0
	return f, err
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// mediaOf reads what a URI stands for.
func mediaOf(tx *store.Tx, id ID) (*File, bool, error) {
	return store.One(tx, scanMedia, `SELECT `+mediaColumns+` FROM media WHERE origin = $1 AND media_id = $2`, string(id.Origin), id.Media)
}

func hashBytes(f *File) []byte {
	if !f.arrived {
		return []byte{}
	}
	return f.Hash[:]
}

func insertMedia(tx *store.Tx, f *File) error {
	_, err := tx.Exec(`
		INSERT INTO media (origin, media_id, user_id, hash, size, content_type, filename, created, accessed, expires, public, quarantined)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)`,
		string(f.ID.Origin), f.ID.Media, string(f.Uploader), hashBytes(f), f.Size, f.ContentType, f.Name, f.Created, f.accessed, f.expires, flag(f.Public))
	return err
}

// fillMedia gives an announced URI its file, once.
func fillMedia(tx *store.Tx, f *File) (bool, error) {
	n, err := tx.Exec(`
		UPDATE media SET hash = $1, size = $2, content_type = $3, filename = $4, accessed = $5, public = $6, expires = 0
		WHERE origin = $7 AND media_id = $8 AND LENGTH(hash) = 0`,
		f.Hash[:], f.Size, f.ContentType, f.Name, f.accessed, flag(f.Public), string(f.ID.Origin), f.ID.Media)
	return n == 1, err
}

func countPending(tx *store.Tx, user matrix.UserID, now int64) (int64, error) {
	n, _, err := store.One(tx, scanInt, `
		SELECT COUNT(*) FROM media WHERE user_id = $1 AND created > $2 AND LENGTH(hash) = 0 AND expires > $3`,
		string(user), now-unusedTime.Milliseconds()-1, now)
	return n, err
}

func scanInt(row store.Row) (n int64, err error) { return n, row.Scan(&n) }

func touchMedia(tx *store.Tx, id ID, now int64) error {
	_, err := tx.Exec(`UPDATE media SET accessed = $1 WHERE origin = $2 AND media_id = $3`, now, string(id.Origin), id.Media)
	return err
}

// deleteMedia removes what a URI stands for; false where that was gone.
func deleteMedia(tx *store.Tx, id ID) (bool, error) {
	n, err := tx.Exec(`DELETE FROM media WHERE origin = $1 AND media_id = $2`, string(id.Origin), id.Media)
	return n == 1, err
}

// expiredMedia lists what goes by itself: URIs without a file, images of previews.
func expiredMedia(tx *store.Tx, now int64, limit int) ([]*File, error) {
	return store.Select(tx, scanMedia, `
		SELECT `+mediaColumns+` FROM media WHERE expires > 0 AND expires <= $1 ORDER BY expires LIMIT $2`, now, int64(limit))
}

// staleRemote lists files of other servers that nobody has asked for since a time.
func staleRemote(tx *store.Tx, own matrix.ServerName, before int64, limit int) ([]*File, error) {
	return store.Select(tx, scanMedia, `
		SELECT `+mediaColumns+` FROM media WHERE user_id = '' AND origin <> $1 AND accessed < $2 AND quarantined = 0 LIMIT $3`,
		string(own), before, int64(limit))
}

// mediaOfUser lists a user's files after one of their ids.
func mediaOfUser(tx *store.Tx, user matrix.UserID, after string, limit int) ([]*File, error) {
	return store.Select(tx, scanMedia, `
		SELECT `+mediaColumns+` FROM media WHERE user_id = $1 AND media_id > $2 ORDER BY media_id LIMIT $3`, string(user), after, int64(limit))
}

func quarantineMedia(tx *store.Tx, id ID, on bool) (bool, error) {
	n, err := tx.Exec(`UPDATE media SET quarantined = $1 WHERE origin = $2 AND media_id = $3`, flag(on), string(id.Origin), id.Media)
	return n == 1, err
}

// quarantineOf gives a user's files to nobody, but for those that are protected.
func quarantineOf(tx *store.Tx, user matrix.UserID) (int64, error) {
	return tx.Exec(`UPDATE media SET quarantined = 1 WHERE user_id = $1 AND quarantined = 0 AND protected = 0`, string(user))
}

// quarantineUnprotected does so with one file; 0: it was so, or is protected, or not there.
func quarantineUnprotected(tx *store.Tx, id ID) (int64, error) {
	return tx.Exec(`UPDATE media SET quarantined = 1 WHERE origin = $1 AND media_id = $2 AND quarantined = 0 AND protected = 0`,
		string(id.Origin), id.Media)
}

func protectMedia(tx *store.Tx, id ID, on bool) (bool, error) {
	n, err := tx.Exec(`UPDATE media SET protected = $1 WHERE origin = $2 AND media_id = $3`, flag(on), string(id.Origin), id.Media)
	return n == 1, err
}

func insertBlocked(tx *store.Tx, h Hash, reason string, now int64) error {
	_, err := tx.Exec(`
		INSERT INTO media_blocked (hash, reason, blocked) VALUES ($1, $2, $3)
		ON CONFLICT (hash) DO UPDATE SET reason = excluded.reason`, h[:], reason, now)
	return err
}

func deleteBlocked(tx *store.Tx, h Hash) error {
	_, err := tx.Exec(`DELETE FROM media_blocked WHERE hash = $1`, h[:])
	return err
}

func isBlocked(tx *store.Tx, h Hash) (bool, error) {
	_, found, err := store.One(tx, scanInt, `SELECT blocked FROM media_blocked WHERE hash = $1`, h[:])
	return found, err
}
