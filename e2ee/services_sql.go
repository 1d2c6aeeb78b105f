package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func scanUserAt(r store.Row) (at userAt, err error) { return at, r.Scan(&at.user, &at.pos) }

// queuedAfter reads whom messages that wait are for.
func queuedAfter(tx *store.Tx, after int64, limit int) ([]userAt, error) {
	return store.Select(tx, scanUserAt, `SELECT user_id, pos FROM to_device WHERE pos > $1 ORDER BY pos LIMIT $2`, after, int64(limit))
}

func keyNewsAfter(tx *store.Tx, after int64, limit int) ([]userAt, error) {
	return store.Select(tx, scanUserAt, `SELECT user_id, pos FROM key_news WHERE pos > $1 ORDER BY pos LIMIT $2`, after, int64(limit))
}

func listsAfter(tx *store.Tx, after int64, limit int) ([]userAt, error) {
	return store.Select(tx, scanUserAt, `SELECT user_id, pos FROM device_lists WHERE pos > $1 ORDER BY pos LIMIT $2`, after, int64(limit))
}

// eachQueued reads the messages that wait from one position to another, in their order.
func eachQueued(tx *store.Tx, from, upto int64, fn func(DeviceMessage)) error {
	return store.Each(tx, func(r store.Row) error {
		var m DeviceMessage
		var message []byte
		if err := r.Scan(&m.User, &m.Device, &m.Pos, &message); err != nil {
			return err
		}
		m.Message = message
		fn(m)
		return nil
	}, `SELECT user_id, device_id, pos, message FROM to_device WHERE pos >= $1 AND pos <= $2 ORDER BY pos`, from, upto)
}

func keyNewsBetween(tx *store.Tx, from, upto int64) ([]matrix.UserID, error) {
	return store.Select(tx, scanUser, `SELECT user_id FROM key_news WHERE pos >= $1 AND pos <= $2 ORDER BY pos`, from, upto)
}

func listsBetween(tx *store.Tx, from, upto int64) ([]matrix.UserID, error) {
	return store.Select(tx, scanUser, `SELECT user_id FROM device_lists WHERE pos >= $1 AND pos <= $2 ORDER BY pos`, from, upto)
}

// devicesWithKeys reads the devices of a user that have identity keys.
func devicesWithKeys(tx *store.Tx, user matrix.UserID) ([]matrix.DeviceID, error) {
	return store.Select(tx, func(r store.Row) (id matrix.DeviceID, err error) { return id, r.Scan(&id) }, `
		SELECT device_id FROM device_keys
		WHERE ushard = $1 AND user_id = $2 ORDER BY device_id`, user.Shard(), string(user))
}
