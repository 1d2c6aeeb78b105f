package e2ee

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// What a cross-signing key is used for.
const (
	master      = "master"
	selfSigning = "self_signing"
	userSigning = "user_signing"
)

// crossKey is a cross-signing key.
type crossKey struct {
	usage      string
	public     string // unpadded base64
	object     []byte // canonical
	signatures signatures
}

func (k *crossKey) keyID() string { return "ed25519:" + k.public }

// CrossSigning are the cross-signing keys that a user uploads; nil where one is missing.
//
// Spec: POST /_matrix/client/v3/keys/device_signing/upload
type CrossSigning struct {
	Master, SelfSigning, UserSigning json.RawMessage
}

// UploadCrossSigning stores cross-signing keys. Where they would replace others and the user has not
// confirmed that, nothing is stored, and ask is true, unless an administrator has granted it.
func (e *Encryption) UploadCrossSigning(ctx context.Context, user matrix.UserID, up CrossSigning, confirmed bool) (ask bool, err error) {
	keys, err := up.check(user)
	if err != nil {
		return false, err
	}
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		have, err := readCrossKeysOf(tx, user)
		if err != nil {
			return err
		}
		fresh, err := newCrossKeys(tx, user, keys, have)
		if err != nil || len(fresh) == 0 {
			return err
		}
		if ask = have[master] != nil && !confirmed; ask {
			granted, err := takeGrant(tx, user, e.millis())
			if ask = !granted; ask || err != nil {
				return err
			}
		}
		return e.storeCrossKeys(tx, user, fresh, have)
	})
	return ask, err
}

// check checks the form of the keys, and gives them with the master key first.
func (up CrossSigning) check(user matrix.UserID) ([]*crossKey, error) {
	var keys []*crossKey
	for _, of := range []struct {
		usage string
		raw   json.RawMessage
	}{{master, up.Master}, {selfSigning, up.SelfSigning}, {userSigning, up.UserSigning}} {
		if len(of.raw) == 0 || string(of.raw) == "null" {
			continue
		}
		k, err := checkCrossKey(user, of.usage, of.raw)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, matrix.MissingParam("there is no key in the request")
	}
	return keys, nil
}

func checkCrossKey(user matrix.UserID, usage string, raw []byte) (*crossKey, error) {
	if len(raw) > maxCrossKey {
		return nil, matrix.InvalidParam("the %s key is larger than %d bytes", usage, maxCrossKey)
	}
	object, err := withoutUnsigned(raw)
	if err != nil {
		return nil, err
	}
	k := &crossKey{usage: usage, object: object}
	var owner matrix.UserID
	var usages []string
	var named map[string]string
	if err := members(object, map[string]any{"user_id": &owner, "usage": &usages, "keys": &named, "signatures": &k.signatures}); err != nil {
		return nil, err
	}
	switch {
	case usages == nil || named == nil:
		return nil, matrix.BadJSON("the %s key needs user_id, usage and keys", usage)
	case owner != user:
		return nil, matrix.InvalidParam("the %s key has the user_id of somebody else", usage)
	case !slices.Equal(usages, []string{usage}):
		return nil, matrix.InvalidParam("the usage of the %s key is another", usage)
	case len(named) != 1:
		return nil, matrix.InvalidParam("the %s key must have exactly one public key", usage)
	}
	for id, public := range named {
		raw, ok := canonicaljson.ParseBase64(public)
		if !ok || len(raw) != 32 || id != "ed25519:"+public || canonicaljson.Base64(raw) != public {
			return nil, matrix.InvalidParam("the %s key is not named ed25519:public_key", usage)
		}
		k.public = public
	}
	return k, checkSignatures(k.signatures)
}

// newCrossKeys gives those of the keys that are not stored yet, and checks what depends on stored keys.
func newCrossKeys(tx *store.Tx, user matrix.UserID, keys []*crossKey, have map[string]*crossKey) ([]*crossKey, error) {
	top := have[master]
	if keys[0].usage == master {
		top = keys[0]
	}
	if top == nil {
		return nil, matrix.MissingParam("there is no master key")
	}
	var fresh []*crossKey
	for _, k := range keys {
		if k.usage != master {
			if k.signatures[string(user)][top.keyID()] == "" {
				return nil, errSignature
			}
			if err := verify(k.object, user, top.keyID(), top.public); err != nil {
				return nil, err
			}
		}
		taken, err := isDevice(tx, user, matrix.DeviceID(k.public))
		if err != nil {
			return nil, err
		}
		if taken {
			return nil, matrix.Forbidden("the public key is the id of a device")
		}
		if err := checkByDevices(tx, user, k); err != nil {
			return nil, err
		}
		if old := have[k.usage]; old == nil || !sameSigned(old.object, k.object) {
			fresh = append(fresh, k)
		}
	}
	return fresh, nil
}

// checkByDevices checks the signatures of a key that the user's devices have made.
func checkByDevices(tx *store.Tx, user matrix.UserID, k *crossKey) error {
	for id := range k.signatures[string(user)] {
		device, _ := signingDevice(id)
		d, found, err := readDeviceKeys(tx, user, device)
		if err != nil {
			return err
		}
		if found && d.Keys[id] != "" {
			if err := verify(k.object, user, id, d.Keys[id]); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameSigned says whether two objects are the same but for their signatures.
func sameSigned(a, b []byte) bool {
	x, err := canonicaljson.SigningBytes(a)
	if err != nil {
		return false
	}
	y, err := canonicaljson.SigningBytes(b)
	return err == nil && bytes.Equal(x, y)
}

// storeCrossKeys replaces keys. What the replaced ones have signed, and what signed them, goes with them:
// a new master key makes those below it worthless as well.
func (e *Encryption) storeCrossKeys(tx *store.Tx, user matrix.UserID, fresh []*crossKey, have map[string]*crossKey) error {
	gone := make(map[string]*crossKey)
	for _, k := range fresh {
		if old := have[k.usage]; old != nil && old.public != k.public {
			gone[k.usage] = old
		}
	}
	if gone[master] != nil {
		gone = have
	}
	for _, old := range gone {
		if err := deleteCrossKey(tx, user, old); err != nil {
			return err
		}
	}
	for _, k := range fresh {
		if err := writeCrossKey(tx, user, k); err != nil {
			return err
		}
	}
	return e.listChanged(tx, user, crossSigning)
}
