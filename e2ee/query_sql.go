package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// readDevices reads the devices of a user that have keys: those that are named, or all.
func readDevices(tx *store.Tx, user matrix.UserID, only []matrix.DeviceID) ([]storedDevice, error) {
	scan := func(r store.Row) (d storedDevice, err error) {
		var id string
		err = r.Scan(&id, &d.name, &d.object)
		d.id = matrix.DeviceID(id)
		return d, err
	}
	const query = `
		SELECT k.device_id, d.display_name, k.keys FROM device_keys k
		JOIN devices d ON d.ushard = k.ushard AND d.user_id = k.user_id AND d.device_id = k.device_id
		WHERE k.ushard = $1 AND k.user_id = $2`
	if len(only) == 0 {
		return store.Select(tx, scan, query, user.Shard(), string(user))
	}
	return store.Select(tx, scan, query+` AND k.device_id {IN $3 TEXT}`, user.Shard(), string(user), store.List(only))
}

// readSignatures reads the signatures that one user made of keys of another, or of their own.
func readSignatures(tx *store.Tx, signer, target matrix.UserID) ([]keySignature, error) {
	return store.Select(tx, func(r store.Row) (keySignature, error) {
		s := keySignature{signer: signer}
		return s, r.Scan(&s.key, &s.targetKey, &s.signature)
	}, `
		SELECT signing_key, target_key, signature FROM key_signatures
		WHERE ushard = $1 AND user_id = $2 AND target = $3`, signer.Shard(), string(signer), string(target))
}

// readCrossKeys reads the cross-signing keys of a user by their usage.
func readCrossKeys(tx *store.Tx, user matrix.UserID) (map[string]*crossKey, error) {
	keys := make(map[string]*crossKey)
	err := store.Each(tx, func(r store.Row) error {
		k := new(crossKey)
		err := r.Scan(&k.usage, &k.public, &k.object)
		keys[k.usage] = k
		return err
	}, `
		SELECT usage, public_key, key_json FROM cross_signing_keys
		WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return keys, err
}
