package e2ee

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// Dehydrated is a device without a client, which takes messages for a user who has none. Whoever has the
// user's secret storage wakes it and reads them.
//
// Spec: MSC3814.
type Dehydrated struct {
	ID     matrix.DeviceID
	Device json.RawMessage // encrypted by the client that made it
}

// Dehydration is what a client uploads for a dehydrated device.
type Dehydration struct {
	Dehydrated
	Name string
	Upload
}

// maxDehydrated bounds the encrypted device.
const maxDehydrated = 256 << 10

var errNoDehydrated = matrix.NotFound("there is no dehydrated device")

// Dehydrate makes the dehydrated device of a user, in place of the one that was there.
func (e *Encryption) Dehydrate(ctx context.Context, user matrix.UserID, d Dehydration) error {
	if err := account.CheckDevice(d.ID, d.Name); err != nil || d.ID == "" {
		return matrix.InvalidParam("device_id and the name of the device must be text")
	}
	if len(d.Device) > maxDehydrated {
		return matrix.E(matrix.CodeTooLarge, "device_data is larger than %d bytes", maxDehydrated)
	}
	sealed, err := canonicaljson.Canonical(nil, d.Device, canonicaljson.Strict)
	if err != nil || sealed[0] != '{' {
		return matrix.BadJSON("device_data must be an object")
	}
	c, err := d.check(user, d.ID)
	if err != nil {
		return err
	}
	if c.keys == nil || !c.keys.signed() {
		return matrix.InvalidParam("a dehydrated device needs device_keys that it has signed")
	}
	return e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		if err := e.dropDehydrated(tx, user); err != nil {
			return err
		}
		fresh, err := e.accounts.InsertDevice(tx, user, account.NewDevice{ID: d.ID, Name: d.Name})
		if err != nil {
			return err
		}
		if !fresh {
			return matrix.InvalidParam("there is a device of this id already")
		}
		if _, err := e.store(tx, user, d.ID, c); err != nil {
			return err
		}
		return writeDehydrated(tx, user, Dehydrated{d.ID, sealed})
	})
}

// dropDehydrated deletes the dehydrated device of a user with all that belongs to it, if there is one.
func (e *Encryption) dropDehydrated(tx *store.Tx, user matrix.UserID) error {
	old, found, err := readDehydrated(tx, user)
	if err != nil || !found {
		return err
	}
	if err := e.accounts.RemoveDevices(tx, user, []matrix.DeviceID{old.ID}); err != nil {
		return fmt.Errorf("delete the dehydrated device of %s: %w", user, err)
	}
	return nil
}

// Dehydrated reads the dehydrated device of a user.
func (e *Encryption) Dehydrated(ctx context.Context, user matrix.UserID) (d Dehydrated, err error) {
	err = e.db.View(ctx, func(tx *store.Tx) (err error) {
		d, err = findDehydrated(tx, user)
		return err
	})
	return d, err
}

func findDehydrated(tx *store.Tx, user matrix.UserID) (Dehydrated, error) {
	d, found, err := readDehydrated(tx, user)
	if err == nil && !found {
		err = errNoDehydrated
	}
	return d, err
}

// DeleteDehydrated deletes the dehydrated device of a user.
func (e *Encryption) DeleteDehydrated(ctx context.Context, user matrix.UserID) (id matrix.DeviceID, err error) {
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		d, err := findDehydrated(tx, user)
		if err != nil {
			return err
		}
		id = d.ID
		return e.dropDehydrated(tx, user)
	})
	return id, err
}

// DehydratedEvents reads messages to the dehydrated device, from a place in its queue on. They stay until
// the device is deleted: a client that is interrupted begins anew.
func (e *Encryption) DehydratedEvents(ctx context.Context, user matrix.UserID, id matrix.DeviceID, from string) (events []json.RawMessage, next string, err error) {
	after := int64(0)
	if from != "" {
		if after, err = strconv.ParseInt(from, 10, 64); err != nil || after < 0 {
			return nil, "", matrix.InvalidParam("next_batch is none of this server's")
		}
	}
	err = e.db.View(ctx, func(tx *store.Tx) error {
		d, err := findDehydrated(tx, user)
		if err != nil {
			return err
		}
		if d.ID != id {
			return matrix.Forbidden("this is not the dehydrated device")
		}
		rows, err := readMessages(tx, deviceID{user, id}, after, maxAnswered)
		events = make([]json.RawMessage, len(rows))
		for i, m := range rows {
			events[i], after = m.message, m.pos
		}
		return err
	})
	return events, strconv.FormatInt(after, 10), err
}
