package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func writeDehydrated(tx *store.Tx, user matrix.UserID, d Dehydrated) error {
	_, err := tx.Exec(`INSERT INTO dehydrated_devices (ushard, user_id, device_id, device) VALUES ($1, $2, $3, $4)`,
		user.Shard(), string(user), string(d.ID), []byte(d.Device))
	return err
}

func readDehydrated(tx *store.Tx, user matrix.UserID) (Dehydrated, bool, error) {
	return store.One(tx, func(r store.Row) (d Dehydrated, err error) {
		var sealed []byte
		err = r.Scan(&d.ID, &sealed)
		d.Device = sealed
		return d, err
	}, `SELECT device_id, device FROM dehydrated_devices WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
}
