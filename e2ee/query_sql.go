package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// readDevices reads the devices of users that have keys.
func readDevices(tx *store.Tx, users []matrix.UserID) (map[matrix.UserID][]storedDevice, error) {
	devices := make(map[matrix.UserID][]storedDevice, len(users))
	return devices, store.Each(tx, func(r store.Row) error {
		var user, id string
		var d storedDevice
		err := r.Scan(&user, &id, &d.name, &d.object)
		d.id = matrix.DeviceID(id)
		devices[matrix.UserID(user)] = append(devices[matrix.UserID(user)], d)
		return err
	}, `
		SELECT k.user_id, k.device_id, d.display_name, k.keys FROM device_keys k
		JOIN devices d ON d.ushard = k.ushard AND d.user_id = k.user_id AND d.device_id = k.device_id
		WHERE (k.ushard, k.user_id) IN {KEYED $1}`, store.Keyed(users))
}

// readOwnSignatures reads the signatures that users made of keys of their own.
func readOwnSignatures(tx *store.Tx, users []matrix.UserID) (map[matrix.UserID][]keySignature, error) {
	return signaturesOf(tx, `
		SELECT user_id, target, signing_key, target_key, signature FROM key_signatures
		WHERE (ushard, user_id) IN {KEYED $1} AND target = user_id`, store.Keyed(users))
}

// readSignatures reads the signatures that a user made of keys of others, by whose they are.
func readSignatures(tx *store.Tx, signer matrix.UserID, targets []matrix.UserID) (map[matrix.UserID][]keySignature, error) {
	return signaturesOf(tx, `
		SELECT user_id, target, signing_key, target_key, signature FROM key_signatures
		WHERE ushard = $1 AND user_id = $2 AND target {IN $3 TEXT}`, signer.Shard(), string(signer), store.List(targets))
}

func signaturesOf(tx *store.Tx, query string, args ...any) (map[matrix.UserID][]keySignature, error) {
	signed := make(map[matrix.UserID][]keySignature)
	return signed, store.Each(tx, func(r store.Row) error {
		var signer, target string
		var s keySignature
		err := r.Scan(&signer, &target, &s.key, &s.targetKey, &s.signature)
		s.signer = matrix.UserID(signer)
		signed[matrix.UserID(target)] = append(signed[matrix.UserID(target)], s)
		return err
	}, query, args...)
}

// readCrossKeys reads the cross-signing keys of users, by their usage.
func readCrossKeys(tx *store.Tx, users []matrix.UserID) (map[matrix.UserID]map[string]*crossKey, error) {
	all := make(map[matrix.UserID]map[string]*crossKey, len(users))
	return all, store.Each(tx, func(r store.Row) error {
		var user string
		k := new(crossKey)
		err := r.Scan(&user, &k.usage, &k.public, &k.object)
		keys := all[matrix.UserID(user)]
		if keys == nil {
			keys = make(map[string]*crossKey)
			all[matrix.UserID(user)] = keys
		}
		keys[k.usage] = k
		return err
	}, `
		SELECT user_id, usage, public_key, key_json FROM cross_signing_keys
		WHERE (ushard, user_id) IN {KEYED $1}`, store.Keyed(users))
}

// readCrossKeysOf reads those of one user.
func readCrossKeysOf(tx *store.Tx, user matrix.UserID) (map[string]*crossKey, error) {
	all, err := readCrossKeys(tx, []matrix.UserID{user})
	return all[user], err
}
