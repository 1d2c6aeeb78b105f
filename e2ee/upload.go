package e2ee

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// Upload is what a client uploads for its device. Any part may be missing.
//
// Spec: POST /_matrix/client/v3/keys/upload
type Upload struct {
	DeviceKeys json.RawMessage
	OneTime    map[string]json.RawMessage // by algorithm:key_id
	Fallback   map[string]json.RawMessage
}

const (
	// maxUploaded bounds the keys of one upload, and maxOneTime those that wait for a device.
	maxUploaded = 1000
	maxOneTime  = 5000
	// claimedKept is how long a key that was given out is remembered: longer than a client tries the same upload.
	claimedKept = 30 * 24 * time.Hour
	// signedCurve25519 is the algorithm of one-time keys of which clients always want to know the count.
	signedCurve25519 = "signed_curve25519"
)

// checkedUpload is an upload whose form was checked.
type checkedUpload struct {
	keys     *deviceKeys // nil: none
	oneTime  []namedKey
	fallback []namedKey
}

// namedKey is a one-time or fallback key.
type namedKey struct {
	Algorithm, ID string
	object        []byte // canonical
	signatures    signatures
}

// name is the key's name towards clients.
func (k *namedKey) name() string { return k.Algorithm + ":" + k.ID }

// Upload stores keys of a device, and tells how many one-time keys wait for it, by algorithm.
func (e *Encryption) Upload(ctx context.Context, user matrix.UserID, device matrix.DeviceID, u Upload) (counts map[string]int64, err error) {
	c, err := u.check(user, device)
	if err != nil {
		return nil, err
	}
	err = e.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err = lockDevice(tx, user, device); err != nil {
			return err
		}
		counts, err = e.store(tx, user, device, c)
		return err
	})
	return counts, err
}

// check checks all that can be without knowing what is stored.
func (u Upload) check(user matrix.UserID, device matrix.DeviceID) (c checkedUpload, err error) {
	if len(u.OneTime) > maxUploaded || len(u.Fallback) > maxAlgorithms {
		return c, matrix.InvalidParam("more than %d keys at once", maxUploaded)
	}
	if len(u.DeviceKeys) > 0 && string(u.DeviceKeys) != "null" {
		if c.keys, err = checkDeviceKeys(user, device, u.DeviceKeys); err != nil {
			return c, err
		}
	}
	if c.oneTime, err = checkKeys(u.OneTime); err != nil {
		return c, err
	}
	if c.fallback, err = checkKeys(u.Fallback); err != nil {
		return c, err
	}
	for i := range c.fallback { // sorted by name
		if i > 0 && c.fallback[i].Algorithm == c.fallback[i-1].Algorithm {
			return c, matrix.InvalidParam("more than one fallback key for %s", c.fallback[i].Algorithm)
		}
	}
	return c, nil
}

// checkKeys checks one-time or fallback keys, and sorts them by their names.
func checkKeys(named map[string]json.RawMessage) ([]namedKey, error) {
	keys := make([]namedKey, 0, len(named))
	for _, name := range slices.Sorted(maps.Keys(named)) {
		k, err := checkKey(name, named[name])
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func checkKey(name string, raw json.RawMessage) (k namedKey, err error) {
	var found bool
	if k.Algorithm, k.ID, found = strings.Cut(name, ":"); !found || !isName(k.Algorithm) || !isText(k.ID, maxName) {
		return k, matrix.InvalidParam("a one-time key is not named algorithm:key_id")
	}
	if len(raw) > maxOneTimeKey {
		return k, matrix.InvalidParam("the one-time key %s is larger than %d bytes", k.name(), maxOneTimeKey)
	}
	if k.object, err = canonicaljson.Canonical(nil, raw, canonicaljson.Strict); err != nil {
		return k, matrix.BadJSON("the one-time key %s is not JSON", k.name())
	}
	var public string
	switch {
	case k.object[0] == '"' && k.Algorithm != signedCurve25519:
		_ = json.Unmarshal(k.object, &public)
	case k.object[0] == '{':
		if err := members(k.object, map[string]any{"key": &public, "signatures": &k.signatures}); err != nil {
			return k, err
		}
		if k.signatures == nil {
			return k, matrix.BadJSON("the one-time key %s has no signatures", k.name())
		}
	default:
		return k, matrix.BadJSON("the one-time key %s must be an object", k.name())
	}
	if !isPublicKey(strings.TrimPrefix(k.Algorithm, "signed_"), public) {
		return k, matrix.InvalidParam("the one-time key %s is not a key", k.name())
	}
	return k, checkSignatures(k.signatures)
}

// store stores an upload. The device is locked.
func (e *Encryption) store(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, c checkedUpload) (map[string]int64, error) {
	changed, identity, err := e.storeIdentity(tx, user, device, c.keys)
	if err != nil {
		return nil, err
	}
	for _, keys := range [][]namedKey{c.oneTime, c.fallback} {
		if err := checkSigned(keys, user, identity); err != nil {
			return nil, err
		}
	}
	fresh, err := e.newOneTimeKeys(tx, user, device, c.oneTime)
	if err != nil {
		return nil, err
	}
	if err := storeFallback(tx, user, device, c.fallback); err != nil {
		return nil, err
	}
	counts, err := readCounts(tx, user, device)
	if err != nil {
		return nil, err
	}
	for _, k := range fresh {
		counts[k.Algorithm]++
		if counts[k.Algorithm] > maxOneTime {
			return nil, matrix.InvalidParam("more than %d one-time keys wait for this device", maxOneTime)
		}
	}
	if changed {
		if err := e.listChanged(tx, user, device); err != nil {
			return nil, err
		}
	}
	if len(fresh)+len(c.fallback) == 0 {
		return counts, nil
	}
	pos, err := tx.NextPos(1)
	if err != nil {
		return nil, err
	}
	if err := insertOneTimeKeys(tx, user, device, fresh, pos); err != nil {
		return nil, err
	}
	return counts, noteKeys(tx, pos, user)
}

// storeIdentity stores the identity keys of a device where they are new, and gives those that it has.
func (e *Encryption) storeIdentity(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, k *deviceKeys) (changed bool, now *deviceKeys, err error) {
	before, found, err := readDeviceKeys(tx, user, device)
	if err != nil || k == nil {
		return false, before, err
	}
	if found && bytes.Equal(before.object, k.object) {
		return false, before, nil
	}
	if found && !before.sameIdentity(k) {
		// What nobody could trust, because the device has not signed it, may be replaced. What is signed is
		// the device's identity, on which others rely.
		if before.signed() {
			return false, nil, matrix.InvalidParam("the identity keys of a device cannot be changed")
		}
		if err := deleteKeysOfDevice(tx, user, device); err != nil {
			return false, nil, err
		}
	}
	if found && before.signed() && !k.signed() {
		return false, nil, matrix.InvalidParam("device_keys is not signed by the device any more")
	}
	if k.Dehydrated != (before != nil && before.Dehydrated) && found {
		return false, nil, matrix.InvalidParam("a device cannot become dehydrated, nor cease to be so")
	}
	return true, k, writeDeviceKeys(tx, k)
}

// checkSigned checks the signatures of one-time keys by their device, where its key is known.
func checkSigned(keys []namedKey, user matrix.UserID, identity *deviceKeys) error {
	if identity == nil || identity.Keys[identity.keyID()] == "" {
		return nil
	}
	id := identity.keyID()
	for _, k := range keys {
		if k.object[0] != '{' {
			continue
		}
		if k.signatures[string(user)][id] == "" {
			return matrix.InvalidParam("the one-time key %s is not signed by its device", k.name())
		}
		if err := verify(k.object, user, id, identity.Keys[id]); err != nil {
			return err
		}
	}
	return nil
}

// newOneTimeKeys gives those of the keys that are to be stored. One that is there with the same id, or was
// and has been given out, is none.
func (e *Encryption) newOneTimeKeys(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, keys []namedKey) ([]namedKey, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if err := deleteClaimedBefore(tx, user, device, e.millis()-claimedKept.Milliseconds()); err != nil {
		return nil, err
	}
	have, err := readOneTimeKeys(tx, user, device, keys)
	if err != nil {
		return nil, err
	}
	var fresh []namedKey
	for _, k := range keys {
		stored, there := have[k.name()]
		switch {
		case !there:
			fresh = append(fresh, k)
		case !bytes.Equal(stored, k.object):
			return nil, matrix.InvalidParam("there is another one-time key %s already", k.name())
		}
	}
	return fresh, nil
}

// noteKeys notes that keys, or counts, of users changed at a position of the stream, and wakes them.
func noteKeys(tx *store.Tx, pos int64, users ...matrix.UserID) error {
	for _, user := range users {
		tx.Announce(bus.Change{Kind: bus.User, Key: string(user), Pos: pos})
	}
	return writeKeyNews(tx, pos, users)
}
