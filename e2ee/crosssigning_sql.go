package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// lockUser keeps others from changing the user's cross-signing keys until the commit, also where there are
// none yet.
func lockUser(tx *store.Tx, user matrix.UserID) error {
	_, err := tx.Exec(`
		INSERT INTO key_news (ushard, user_id, pos) VALUES ($1, $2, 0)
		ON CONFLICT (ushard, user_id) DO UPDATE SET pos = key_news.pos`, user.Shard(), string(user))
	return err
}

func isDevice(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) (bool, error) {
	_, found, err := store.One(tx, scanText, `
		SELECT device_id FROM devices
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3`, user.Shard(), string(user), string(device))
	return found, err
}

func writeCrossKey(tx *store.Tx, user matrix.UserID, k *crossKey) error {
	_, err := tx.Exec(`
		INSERT INTO cross_signing_keys (ushard, user_id, usage, public_key, key_json) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (ushard, user_id, usage) DO UPDATE SET public_key = excluded.public_key, key_json = excluded.key_json`,
		user.Shard(), string(user), k.usage, k.public, k.object)
	return err
}

// deleteCrossKey deletes a key, what it has signed, and what the user has signed it with.
func deleteCrossKey(tx *store.Tx, user matrix.UserID, k *crossKey) error {
	if _, err := tx.Exec(`DELETE FROM cross_signing_keys WHERE ushard = $1 AND user_id = $2 AND usage = $3`,
		user.Shard(), string(user), k.usage); err != nil {
		return err
	}
	_, err := tx.Exec(`
		DELETE FROM key_signatures
		WHERE ushard = $1 AND user_id = $2 AND (signing_key = $3 OR target = $2 AND target_key = $4)`,
		user.Shard(), string(user), k.keyID(), k.public)
	return err
}
