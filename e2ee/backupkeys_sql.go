package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// mergeKeys stores those of the keys that are new, or better than those there. changed counts both.
func mergeKeys(tx *store.Tx, user matrix.UserID, version int64, keys BackupKeys) (added, changed int64, err error) {
	b := store.Bulk{
		Table: "backup_keys",
		Columns: []string{
			"ushard", "user_id", "version", "room_id", "session_id", "verified", "first_index", "forwarded", "session",
		},
		OnConflict: `ON CONFLICT (ushard, user_id, version, room_id, session_id) DO NOTHING`,
	}
	for room, sessions := range keys {
		for session, k := range sessions {
			verified := int64(0)
			if k.Verified {
				verified = 1
			}
			b.Rows = append(b.Rows, []any{
				user.Shard(), string(user), version, string(room), session, verified, k.FirstIndex, k.Forwarded, []byte(k.Session),
			})
		}
	}
	if added, err = tx.Bulk(b); err != nil || added == int64(len(b.Rows)) {
		return added, added, err
	}
	b.OnConflict = `
		ON CONFLICT (ushard, user_id, version, room_id, session_id) DO UPDATE
		SET verified = excluded.verified, first_index = excluded.first_index, forwarded = excluded.forwarded, session = excluded.session
		WHERE excluded.verified > backup_keys.verified OR excluded.verified = backup_keys.verified AND (
			excluded.first_index < backup_keys.first_index OR
			excluded.first_index = backup_keys.first_index AND excluded.forwarded < backup_keys.forwarded)`
	better, err := tx.Bulk(b)
	return added, added + better, err
}

// countKeys notes that a backup changed, and how many keys came or went.
func countKeys(tx *store.Tx, user matrix.UserID, version, more int64) error {
	_, err := tx.Exec(`
		UPDATE key_backups SET etag = etag + 1, keys = keys + $4
		WHERE ushard = $1 AND user_id = $2 AND version = $3`, user.Shard(), string(user), version, more)
	return err
}

// which narrows a statement to a room, or a session of one.
func which(room matrix.RoomID, session string, args []any) (string, []any) {
	switch {
	case room == "":
		return "", args
	case session == "":
		return ` AND room_id = $4`, append(args, string(room))
	}
	return ` AND room_id = $4 AND session_id = $5`, append(args, string(room), session)
}

func readBackupKeys(tx *store.Tx, user matrix.UserID, version int64, room matrix.RoomID, session string) (BackupKeys, error) {
	keys := make(BackupKeys)
	narrowed, args := which(room, session, []any{user.Shard(), string(user), version})
	err := store.Each(tx, func(r store.Row) error {
		var room matrix.RoomID
		var session string
		var verified int64
		var k BackupKey
		var sealed []byte
		if err := r.Scan(&room, &session, &verified, &k.FirstIndex, &k.Forwarded, &sealed); err != nil {
			return err
		}
		k.Verified, k.Session = verified != 0, sealed
		if keys[room] == nil {
			keys[room] = make(map[string]BackupKey)
		}
		keys[room][session] = k
		return nil
	}, `
		SELECT room_id, session_id, verified, first_index, forwarded, session FROM backup_keys
		WHERE ushard = $1 AND user_id = $2 AND version = $3`+narrowed, args...)
	return keys, err
}

func deleteBackupKeys(tx *store.Tx, user matrix.UserID, version int64, room matrix.RoomID, session string) (int64, error) {
	narrowed, args := which(room, session, []any{user.Shard(), string(user), version})
	return tx.Exec(`DELETE FROM backup_keys WHERE ushard = $1 AND user_id = $2 AND version = $3`+narrowed, args...)
}
