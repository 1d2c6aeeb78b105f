package account

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

const deviceColumns = `device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_agent`

func scanDevice(r store.Row) (d Device, err error) {
	var id string
	err = r.Scan(&id, &d.Name, &d.Created, &d.LastSeen, &d.LastIP, &d.Agent)
	d.ID = matrix.DeviceID(id)
	return d, err
}

// insertDevice makes a device; false where it is there, which leaves its name as it is.
func insertDevice(tx *store.Tx, user matrix.UserID, id matrix.DeviceID, name string, now int64) (bool, error) {
	n, err := tx.Exec(`INSERT INTO devices (ushard, user_id, device_id, display_name, created_ts)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (ushard, user_id, device_id) DO NOTHING`,
		user.Shard(), string(user), string(id), name, now)
	return n == 1, err
}

func readDevices(tx *store.Tx, user matrix.UserID) ([]Device, error) {
	return store.Select(tx, scanDevice, `SELECT `+deviceColumns+` FROM devices
		WHERE ushard = $1 AND user_id = $2 ORDER BY device_id`, user.Shard(), string(user))
}

func readDevice(tx *store.Tx, user matrix.UserID, id matrix.DeviceID) (Device, bool, error) {
	return store.One(tx, scanDevice, `SELECT `+deviceColumns+` FROM devices
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3`, user.Shard(), string(user), string(id))
}

// lockDevice keeps others from changing a device's tokens until the commit.
func lockDevice(tx *store.Tx, user matrix.UserID, id matrix.DeviceID) error {
	_, _, err := store.One(tx, scanText, `SELECT device_id FROM devices
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 {FOR UPDATE}`, user.Shard(), string(user), string(id))
	return err
}

func renameDevice(tx *store.Tx, user matrix.UserID, id matrix.DeviceID, name string) (bool, error) {
	n, err := tx.Exec(`UPDATE devices SET display_name = $4 WHERE ushard = $1 AND user_id = $2 AND device_id = $3`,
		user.Shard(), string(user), string(id), name)
	return n == 1, err
}

// deleteDevices deletes the devices first: that locks them, so that the tokens of a refresh that is under
// way are there to be deleted as well.
func deleteDevices(tx *store.Tx, user matrix.UserID, ids []matrix.DeviceID) error {
	shard, id, list := user.Shard(), string(user), store.List(ids)
	if _, err := tx.Exec(`DELETE FROM devices WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`, shard, id, list); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM tokens WHERE ushard = $1 AND user_id = $2 AND device_id {IN $3 TEXT}`, shard, id, list)
	return err
}

func writeSeen(tx *store.Tx, key deviceKey, at sighting) error {
	_, err := tx.Exec(`UPDATE devices SET last_seen_ts = $4, last_seen_ip = $5, last_seen_agent = $6
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND last_seen_ts < $4`,
		key.user.Shard(), string(key.user), string(key.device), at.at, at.ip.String(), at.agent)
	return err
}
