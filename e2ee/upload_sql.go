package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

var errNoDevice = matrix.E(matrix.CodeUnknownToken, "this device was deleted")

func scanText(r store.Row) (s string, err error) { return s, r.Scan(&s) }

// lockDevice keeps the device from being deleted, and others from changing its keys, until the commit.
func lockDevice(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) error {
	_, found, err := store.One(tx, scanText, `
		SELECT device_id FROM devices
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 {FOR UPDATE}`, user.Shard(), string(user), string(device))
	if err == nil && !found {
		err = errNoDevice
	}
	return err
}

func readDeviceKeys(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) (*deviceKeys, bool, error) {
	return store.One(tx, func(r store.Row) (*deviceKeys, error) {
		var raw []byte
		if err := r.Scan(&raw); err != nil {
			return nil, err
		}
		return parseDeviceKeys(raw)
	}, `
		SELECT keys FROM device_keys
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3`, user.Shard(), string(user), string(device))
}

func writeDeviceKeys(tx *store.Tx, k *deviceKeys) error {
	signed := int64(0)
	if k.signed() {
		signed = 1
	}
	_, err := tx.Exec(`
		INSERT INTO device_keys (ushard, user_id, device_id, keys, signed) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (ushard, user_id, device_id) DO UPDATE SET keys = excluded.keys, signed = excluded.signed`,
		k.User.Shard(), string(k.User), string(k.Device), k.object, signed)
	return err
}

// deleteKeysOfDevice deletes the one-time and fallback keys of a device.
func deleteKeysOfDevice(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) error {
	for _, query := range []string{
		`DELETE FROM one_time_keys WHERE ushard = $1 AND user_id = $2 AND device_id = $3`,
		`DELETE FROM fallback_keys WHERE ushard = $1 AND user_id = $2 AND device_id = $3`,
		`DELETE FROM key_signatures WHERE ushard = $1 AND user_id = $2 AND target = $2 AND target_key = $3`,
	} {
		if _, err := tx.Exec(query, user.Shard(), string(user), string(device)); err != nil {
			return err
		}
	}
	return nil
}

func deleteClaimedBefore(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, before int64) error {
	_, err := tx.Exec(`
		DELETE FROM one_time_keys
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND claimed > 0 AND claimed < $4`,
		user.Shard(), string(user), string(device), before)
	return err
}

// readOneTimeKeys reads which of the keys are stored, given out or not, by name.
func readOneTimeKeys(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, keys []namedKey) (map[string][]byte, error) {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	have := make(map[string][]byte)
	err := store.Each(tx, func(r store.Row) error {
		var k namedKey
		if err := r.Scan(&k.Algorithm, &k.ID, &k.object); err != nil {
			return err
		}
		have[k.name()] = k.object
		return nil
	}, `
		SELECT algorithm, key_id, key_json FROM one_time_keys
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND key_id {IN $4 TEXT}`,
		user.Shard(), string(user), string(device), store.List(ids))
	return have, err
}

func insertOneTimeKeys(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, keys []namedKey, seq int64) error {
	b := store.Bulk{
		Table:   "one_time_keys",
		Columns: []string{"ushard", "user_id", "device_id", "algorithm", "key_id", "key_json", "seq", "claimed"},
	}
	for _, k := range keys {
		b.Rows = append(b.Rows, []any{user.Shard(), string(user), string(device), k.Algorithm, k.ID, k.object, seq, int64(0)})
	}
	_, err := tx.Bulk(b)
	return err
}

// storeFallback stores fallback keys. One that is there already stays used, if it is.
func storeFallback(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, keys []namedKey) error {
	for _, k := range keys {
		_, err := tx.Exec(`
			INSERT INTO fallback_keys (ushard, user_id, device_id, algorithm, key_id, key_json, used) VALUES ($1, $2, $3, $4, $5, $6, 0)
			ON CONFLICT (ushard, user_id, device_id, algorithm) DO UPDATE
			SET used = CASE WHEN fallback_keys.key_json = excluded.key_json AND fallback_keys.key_id = excluded.key_id
				THEN fallback_keys.used ELSE 0 END,
				key_id = excluded.key_id, key_json = excluded.key_json`,
			user.Shard(), string(user), string(device), k.Algorithm, k.ID, k.object)
		if err != nil {
			return err
		}
	}
	return nil
}

// readCounts counts the one-time keys that wait for a device, by algorithm.
func readCounts(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) (map[string]int64, error) {
	counts := map[string]int64{signedCurve25519: 0}
	err := store.Each(tx, func(r store.Row) error {
		var algorithm string
		var n int64
		err := r.Scan(&algorithm, &n)
		counts[algorithm] = n
		return err
	}, `
		SELECT algorithm, COUNT(*) FROM one_time_keys
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND claimed = 0 GROUP BY algorithm`,
		user.Shard(), string(user), string(device))
	return counts, err
}

// readUnusedFallback reads the algorithms whose fallback key was not given out.
func readUnusedFallback(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) ([]string, error) {
	return store.Select(tx, scanText, `
		SELECT algorithm FROM fallback_keys
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND used = 0 ORDER BY algorithm`,
		user.Shard(), string(user), string(device))
}

// writeKeyNews notes the position at which keys of users changed.
func writeKeyNews(tx *store.Tx, pos int64, users []matrix.UserID) error {
	b := store.Bulk{
		Table: "key_news", Columns: []string{"ushard", "user_id", "pos"},
		OnConflict: `ON CONFLICT (ushard, user_id) DO UPDATE SET pos = excluded.pos WHERE key_news.pos < excluded.pos`,
	}
	for _, user := range users {
		b.Rows = append(b.Rows, []any{user.Shard(), string(user), pos})
	}
	_, err := tx.Bulk(b)
	return err
}
