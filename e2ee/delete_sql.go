package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// withKeys reads which of the devices have keys.
func withKeys(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) ([]matrix.DeviceID, error) {
	return store.Select(tx, func(r store.Row) (id matrix.DeviceID, err error) { return id, r.Scan(&id) }, `
		SELECT device_id FROM device_keys
		WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT} ORDER BY device_id`,
		user.Shard(), string(user), store.List(devices))
}

// deleteOfDevices deletes all that belongs to devices.
func deleteOfDevices(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	for _, query := range []string{
		`DELETE FROM device_keys WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM one_time_keys WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM fallback_keys WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM to_device WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM to_device_txns WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM dehydrated_devices WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM key_signatures WHERE ushard = $1 AND user_id = $2 AND target = $2 AND target_key {IN $3 TEXT}`,
	} {
		if _, err := tx.Exec(query, user.Shard(), string(user), store.List(devices)); err != nil {
			return err
		}
	}
	signers := make([]string, len(devices))
	for i, d := range devices {
		signers[i] = "ed25519:" + string(d)
	}
	_, err := tx.Exec(`DELETE FROM key_signatures WHERE ushard = $1 AND user_id = $2 AND signing_key {IN $3 TEXT}`,
		user.Shard(), string(user), store.List(signers))
	return err
}

// deleteOfUser deletes what belongs to a user and not to one of their devices.
func deleteOfUser(tx *store.Tx, user matrix.UserID) error {
	for _, query := range []string{
		`DELETE FROM cross_signing_keys WHERE ushard = $1 AND user_id = $2`,
		`DELETE FROM key_signatures WHERE ushard = $1 AND user_id = $2`,
		`DELETE FROM key_backups WHERE ushard = $1 AND user_id = $2`,
		`DELETE FROM backup_keys WHERE ushard = $1 AND user_id = $2`,
	} {
		if _, err := tx.Exec(query, user.Shard(), string(user)); err != nil {
			return err
		}
	}
	return nil
}
