package e2ee

import "astrocyte/store"

// takeOneTimeKey gives out the key of a device that was uploaded first. Keys that others are taking at this
// moment are passed over.
func takeOneTimeKey(tx *store.Tx, d deviceID, algorithm string, now int64) (namedKey, bool, error) {
	return store.One(tx, func(r store.Row) (namedKey, error) {
		k := namedKey{Algorithm: algorithm}
		return k, r.Scan(&k.ID, &k.object)
	}, `
		UPDATE one_time_keys SET claimed = $5
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND algorithm = $4 AND claimed = 0 AND key_id = (
			SELECT key_id FROM one_time_keys
			WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND algorithm = $4 AND claimed = 0
			ORDER BY seq LIMIT 1 {SKIP LOCKED})
		RETURNING key_id, key_json`, d.user.Shard(), string(d.user), string(d.device), algorithm, now)
}

func readFallback(tx *store.Tx, d deviceID, algorithm string) (k namedKey, used, found bool, err error) {
	k.Algorithm = algorithm
	_, found, err = store.One(tx, func(r store.Row) (bool, error) {
		var flag int64
		err := r.Scan(&k.ID, &k.object, &flag)
		used = flag != 0
		return true, err
	}, `
		SELECT key_id, key_json, used FROM fallback_keys
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND algorithm = $4 {FOR UPDATE}`,
		d.user.Shard(), string(d.user), string(d.device), algorithm)
	return k, used, found, err
}

func useFallback(tx *store.Tx, d deviceID, algorithm string) error {
	_, err := tx.Exec(`
		UPDATE fallback_keys SET used = 1
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND algorithm = $4`,
		d.user.Shard(), string(d.user), string(d.device), algorithm)
	return err
}
