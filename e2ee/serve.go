package e2ee

import (
	"context"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// What other servers may ask about users of this one.

// QueryOurs reads keys of users of this server as another one may see them: with the signatures of their
// owners alone, and without names of devices, which are nobody else's business unless the settings say so.
//
// Spec: POST /_matrix/federation/v1/user/keys/query
func (e *Encryption) QueryOurs(ctx context.Context, wanted Wanted) (*ServedKeys, error) {
	ours, theirs, err := e.sortWanted(wanted)
	if err != nil {
		return nil, err
	}
	for user := range theirs {
		return nil, matrix.InvalidParam("%s is no user of this server", user)
	}
	var k *Keys
	err = e.db.View(ctx, func(tx *store.Tx) error {
		k = newKeys()
		return k.readAll(tx, e.anotherServer(), ours)
	})
	if err != nil {
		return nil, err
	}
	return &ServedKeys{k.Devices, k.Master, k.SelfSigning}, nil
}

// ListOurs reads the whole list of devices of a user of this server, as another one may see it.
//
// Spec: GET /_matrix/federation/v1/user/devices/{userId}
func (e *Encryption) ListOurs(ctx context.Context, user matrix.UserID) (*DeviceList, error) {
	l := &DeviceList{User: user}
	err := e.db.View(ctx, func(tx *store.Tx) error {
		there, err := e.accounts.Exists(tx, user)
		if err != nil {
			return err
		}
		if !there || !e.ours(user) {
			return matrix.NotFound("there is no user %s", user)
		}
		k := newKeys()
		if err := k.readAll(tx, e.anotherServer(), Wanted{user: nil}); err != nil {
			return err
		}
		l.Devices = make([]ListedDevice, 0, len(k.Devices[user]))
		for _, id := range slices.Sorted(maps.Keys(k.Devices[user])) {
			l.Devices = append(l.Devices, ListedDevice{ID: id, Keys: k.Devices[user][id], Name: nameIn(k.Devices[user][id])})
		}
		l.Master, l.SelfSigning = k.Master[user], k.SelfSigning[user]
		l.StreamID, err = readListChange(tx, user)
		return err
	})
	return l, err
}
