package account

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// InsertDevice makes a device without tokens as a part of a transaction; false where it is there.
func (a *Accounts) InsertDevice(tx *store.Tx, user matrix.UserID, d NewDevice) (fresh bool, err error) {
	return insertDevice(tx, user, d.ID, d.Name, a.millis())
}

// RemoveDevices removes devices with their tokens and all that belongs to them as a part of a transaction.
func (a *Accounts) RemoveDevices(tx *store.Tx, user matrix.UserID, ids []matrix.DeviceID) error {
	return a.removeDevices(tx, user, ids)
}
