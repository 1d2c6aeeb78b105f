package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// deleteOfDevices deletes all that belongs to devices, and says whether any of them had keys.
func deleteOfDevices(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) (known bool, err error) {
	n, err := tx.Exec(`DELETE FROM device_keys WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		user.Shard(), string(user), store.List(devices))
	if err != nil {
		return false, err
	}
	for _, query := range []string{
		`DELETE FROM one_time_keys WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM fallback_keys WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM to_device WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM to_device_txns WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM dehydrated_devices WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`,
		`DELETE FROM key_signatures WHERE ushard = $1 AND user_id = $2 AND target = $2 AND target_key {IN $3 TEXT}`,
	} {
		if _, err := tx.Exec(query, user.Shard(), string(user), store.List(devices)); err != nil {
			return false, err
		}
	}
	signers := make([]string, len(devices))
	for i, d := range devices {
		signers[i] = "ed25519:" + string(d)
	}
	_, err = tx.Exec(`DELETE FROM key_signatures WHERE ushard = $1 AND user_id = $2 AND signing_key {IN $3 TEXT}`,
		user.Shard(), string(user), store.List(signers))
	return n > 0, err
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
