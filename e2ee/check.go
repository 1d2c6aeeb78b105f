package e2ee

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// The bounds of what clients upload. A device's keys are sent to other servers in one EDU.
const (
	maxDeviceKeys  = 16 << 10
	maxOneTimeKey  = 4 << 10
	maxCrossKey    = 16 << 10
	maxName        = 255
	maxAlgorithms  = 100
	maxIdentities  = 20
	maxSigners     = 100
	maxMessage     = 64 << 10
	maxSessionData = 64 << 10
)

// deviceKeys are the identity keys of a device.
//
// Spec: POST /_matrix/client/v3/keys/upload (DeviceKeys).
type deviceKeys struct {
	User       matrix.UserID
	Device     matrix.DeviceID
	Algorithms []string
	Keys       map[string]string
	Signatures signatures
	Dehydrated bool

	object []byte // canonical, without unsigned
}

// signatures are those of an object: by signer and key id.
type signatures map[string]map[string]string

// parseDeviceKeys reads keys that were checked when they were accepted, or are to be.
func parseDeviceKeys(raw []byte) (*deviceKeys, error) {
	object, err := withoutUnsigned(raw)
	if err != nil {
		return nil, err
	}
	k := &deviceKeys{object: object}
	return k, members(object, map[string]any{
		"user_id": &k.User, "device_id": &k.Device, "algorithms": &k.Algorithms, "keys": &k.Keys,
		"signatures": &k.Signatures, "dehydrated": &k.Dehydrated,
	})
}

// members reads members of an object. Their names are told apart by case, as encoding/json does not.
func members(object []byte, into map[string]any) error {
	return canonicaljson.Fields(object, func(key string, value []byte) error {
		if dst, wanted := into[key]; wanted && json.Unmarshal(value, dst) != nil {
			return matrix.BadJSON("%s has a wrong type", key)
		}
		return nil
	})
}

// checkDeviceKeys reads keys that a client uploads for its device.
func checkDeviceKeys(user matrix.UserID, device matrix.DeviceID, raw []byte) (*deviceKeys, error) {
	if len(raw) > maxDeviceKeys {
		return nil, matrix.InvalidParam("device_keys is larger than %d bytes", maxDeviceKeys)
	}
	k, err := parseDeviceKeys(raw)
	switch {
	case err != nil:
		return nil, err
	case k.Algorithms == nil || k.Keys == nil || k.Signatures == nil:
		return nil, matrix.BadJSON("device_keys needs algorithms, keys and signatures")
	case k.User != user:
		return nil, matrix.InvalidParam("device_keys has the user_id of somebody else")
	case k.Device != device:
		return nil, matrix.InvalidParam("device_keys has the device_id of another device")
	case len(k.Algorithms) > maxAlgorithms || len(k.Keys) > maxIdentities:
		return nil, matrix.InvalidParam("device_keys has too many algorithms or keys")
	}
	for _, a := range k.Algorithms {
		if !isName(a) {
			return nil, matrix.InvalidParam("device_keys has an algorithm that is no name")
		}
	}
	for name, key := range k.Keys {
		algorithm, of, _ := strings.Cut(name, ":")
		if !isName(algorithm) || of != string(device) {
			return nil, matrix.InvalidParam("a key of device_keys is not named algorithm:device_id")
		}
		if !isPublicKey(algorithm, key) {
			return nil, matrix.InvalidParam("the %s key of device_keys is not one", algorithm)
		}
	}
	if err := checkSignatures(k.Signatures); err != nil {
		return nil, err
	}
	if k.signed() {
		return k, verify(k.object, user, k.keyID(), k.Keys[k.keyID()])
	}
	return k, nil
}

// keyID names the device's signing key.
func (k *deviceKeys) keyID() string { return "ed25519:" + string(k.Device) }

// signed says whether the device has signed its keys.
func (k *deviceKeys) signed() bool { return k.Signatures[string(k.User)][k.keyID()] != "" }

// sameIdentity says whether two uploads are of one device.
func (k *deviceKeys) sameIdentity(o *deviceKeys) bool {
	if len(k.Keys) != len(o.Keys) {
		return false
	}
	for name, key := range k.Keys {
		if o.Keys[name] != key {
			return false
		}
	}
	return true
}

// withoutUnsigned gives the canonical object without what servers add to it.
func withoutUnsigned(raw []byte) ([]byte, error) {
	if _, has := canonicaljson.Field(raw, "unsigned"); has {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, matrix.BadJSON("keys must be an object")
		}
		delete(members, "unsigned")
		raw, _ = json.Marshal(members) // of raw messages that were just read
	}
	object, err := canonicaljson.Canonical(nil, raw, canonicaljson.Strict)
	if err != nil || object[0] != '{' {
		return nil, matrix.BadJSON("keys must be an object")
	}
	return object, nil
}

// checkSignatures checks the form of signatures. Whether they are right is checked for those whose key is known.
func checkSignatures(by signatures) error {
	n := 0
	for user, keys := range by {
		if _, err := matrix.ParseUserID(user); err != nil {
			return err
		}
		for key, signature := range keys {
			algorithm, name, found := strings.Cut(key, ":")
			if n++; n > maxSigners {
				return matrix.InvalidParam("more than %d signatures", maxSigners)
			}
			if !found || !isName(algorithm) || !isText(name, maxName) || !isText(signature, maxName) {
				return matrix.InvalidParam("a signature is not of the form algorithm:key → base64")
			}
		}
	}
	return nil
}

var errSignature = matrix.E(matrix.CodeInvalidSignature, "a signature is not right")

// verify checks a signature of an object by a public key in base64.
func verify(object []byte, signer matrix.UserID, keyID, public string) error {
	key, ok := canonicaljson.ParseBase64(public)
	if !ok || len(key) != ed25519.PublicKeySize || canonicaljson.Verify(object, string(signer), keyID, key) != nil {
		return errSignature
	}
	return nil
}

// isPublicKey says whether a text can be a key of an algorithm. Of unknown ones it is not known what they look like.
func isPublicKey(algorithm, key string) bool {
	switch algorithm {
	case "ed25519", "curve25519":
		raw, ok := canonicaljson.ParseBase64(key)
		return ok && len(raw) == 32
	}
	return isText(key, 1024)
}

// isName says whether a text can be the name of an algorithm.
func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return true
}

// isText says whether a text is there, is valid, and is not longer than it may be.
func isText(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}
