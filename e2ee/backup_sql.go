package e2ee

import (
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/store"
)

func scanBackup(r store.Row) (b Backup, err error) {
	var auth []byte
	var deleted int64
	err = r.Scan(&b.Version, &b.Algorithm, &auth, &b.ETag, &b.Count, &deleted)
	b.AuthData, b.deleted = auth, deleted != 0
	return b, err
}

const backupColumns = `version, algorithm, auth_data, etag, keys, deleted`

func insertBackup(tx *store.Tx, user matrix.UserID, b Backup) error {
	_, err := tx.Exec(`
		INSERT INTO key_backups (ushard, user_id, version, algorithm, auth_data, etag, keys, deleted)
		VALUES ($1, $2, $3, $4, $5, 0, 0, 0)`, user.Shard(), string(user), b.Version, b.Algorithm, []byte(b.AuthData))
	return err
}

// readBackup reads a version, also a deleted one.
func readBackup(tx *store.Tx, user matrix.UserID, version int64) (Backup, bool, error) {
	return store.One(tx, scanBackup, `
		SELECT `+backupColumns+` FROM key_backups
		WHERE ushard = $1 AND user_id = $2 AND version = $3`, user.Shard(), string(user), version)
}

func currentBackup(tx *store.Tx, user matrix.UserID) (Backup, bool, error) {
	return store.One(tx, scanBackup, `
		SELECT `+backupColumns+` FROM key_backups
		WHERE ushard = $1 AND user_id = $2 AND deleted = 0 ORDER BY version DESC LIMIT 1`, user.Shard(), string(user))
}

func lastVersion(tx *store.Tx, user matrix.UserID) (int64, error) {
	version, _, err := store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) }, `
		SELECT version FROM key_backups
		WHERE ushard = $1 AND user_id = $2 ORDER BY version DESC LIMIT 1`, user.Shard(), string(user))
	return version, err
}

func updateBackup(tx *store.Tx, user matrix.UserID, version int64, authData json.RawMessage) error {
	_, err := tx.Exec(`UPDATE key_backups SET auth_data = $4 WHERE ushard = $1 AND user_id = $2 AND version = $3`,
		user.Shard(), string(user), version, []byte(authData))
	return err
}

func deleteBackup(tx *store.Tx, user matrix.UserID, version int64) error {
	if _, err := tx.Exec(`
		UPDATE key_backups SET deleted = 1, keys = 0, etag = etag + 1
		WHERE ushard = $1 AND user_id = $2 AND version = $3 AND deleted = 0`, user.Shard(), string(user), version); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM backup_keys WHERE ushard = $1 AND user_id = $2 AND version = $3`,
		user.Shard(), string(user), version)
	return err
}
