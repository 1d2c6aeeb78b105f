package e2ee

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Signed are keys with new signatures, by user, and by device id or public key.
//
// Spec: POST /_matrix/client/v3/keys/signatures/upload
type Signed map[matrix.UserID]map[string]json.RawMessage

// SignFailures say which signatures were not taken, and why.
type SignFailures map[matrix.UserID]map[string]*Failure

// UploadSignatures stores signatures that a user has made: of their devices by their self-signing key, of
// their master key by their devices, and of others' master keys by their user-signing key. Each is taken
// or refused by itself.
func (e *Encryption) UploadSignatures(ctx context.Context, user matrix.UserID, signed Signed) (SignFailures, error) {
	n := 0
	for target, keys := range signed {
		if _, err := matrix.ParseUserID(string(target)); err != nil {
			return nil, err
		}
		if n += len(keys); n > maxUploaded {
			return nil, matrix.InvalidParam("more than %d keys at once", maxUploaded)
		}
	}
	others, err := e.masterKeys(ctx, signed)
	if err != nil {
		return nil, err
	}
	var failures SignFailures
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		failures = make(SignFailures)
		if err := lockUser(tx, user); err != nil {
			return err
		}
		s := &signing{e: e, tx: tx, user: user, others: others, listed: make(map[matrix.DeviceID]bool)}
		var err error
		if s.own, err = readCrossKeysOf(tx, user); err != nil {
			return err
		}
		for target, keys := range signed {
			for id, raw := range keys {
				if err := failures.note(target, id, s.sign(target, id, raw)); err != nil {
					return err
				}
			}
		}
		return s.tell()
	})
	return failures, err
}

// note notes the caller's fault with one key, and gives any other error back.
func (f SignFailures) note(target matrix.UserID, key string, err error) error {
	var fault *matrix.Error
	if err == nil || !errors.As(err, &fault) {
		return err
	}
	if f[target] == nil {
		f[target] = make(map[string]*Failure)
	}
	f[target][key] = &Failure{fault.Code, fault.Message}
	return nil
}

// signing is the taking of one user's signatures.
type signing struct {
	e      *Encryption
	tx     *store.Tx
	user   matrix.UserID
	own    map[string]*crossKey
	others map[matrix.UserID]*crossKey // master keys of users of other servers
	listed map[matrix.DeviceID]bool    // devices of the user's own that were signed, or their master key: all who see it are told
	rows   []laterSignature
}

// laterSignature is a signature to be stored.
type laterSignature struct {
	target matrix.UserID
	keySignature
}

// sign takes the new signatures of one key.
func (s *signing) sign(target matrix.UserID, id string, raw json.RawMessage) error {
	if len(raw) > maxCrossKey {
		return matrix.InvalidParam("the key is larger than %d bytes", maxCrossKey)
	}
	object, err := withoutUnsigned(raw)
	if err != nil {
		return err
	}
	var by signatures
	if err := members(object, map[string]any{"signatures": &by}); err != nil {
		return err
	}
	if err := checkSignatures(by); err != nil {
		return err
	}
	stored, signers, err := s.signable(target, id)
	if err != nil {
		return err
	}
	if !sameSigned(stored, object) {
		return matrix.InvalidParam("the key is not the one that is known here")
	}
	taken := false
	for _, key := range slices.Sorted(maps.Keys(by[string(s.user)])) {
		public, err := signers(key)
		if err != nil {
			return err
		}
		if public == "" {
			continue // such as the device's own signature, which is with the key already
		}
		if err := verify(object, s.user, key, public); err != nil {
			return err
		}
		taken = true
		s.add(target, keySignature{s.user, key, id, by[string(s.user)][key]})
	}
	if !taken {
		return matrix.E(matrix.CodeInvalidSignature, "there is no signature by a key that may sign this one")
	}
	return nil
}

func (s *signing) add(target matrix.UserID, sig keySignature) {
	s.rows = append(s.rows, laterSignature{target, sig})
	switch {
	case target != s.user:
	case s.own[master] != nil && s.own[master].public == sig.targetKey:
		s.listed[crossSigning] = true
	default:
		s.listed[matrix.DeviceID(sig.targetKey)] = true
	}
}

var errNoKey = matrix.NotFound("there is no such key")

// signable finds a key that the user may sign, and which of the user's keys may: signers gives the public
// key that belongs to a key id, or nothing.
func (s *signing) signable(target matrix.UserID, id string) (object []byte, signers func(keyID string) (string, error), err error) {
	if target != s.user {
		top, err := s.masterOf(target)
		if err != nil {
			return nil, nil, err
		}
		if top == nil || top.public != id {
			return nil, nil, errNoKey
		}
		return top.object, s.only(userSigning), nil
	}
	if top := s.own[master]; top != nil && top.public == id {
		return top.object, s.byDevices, nil
	}
	d, found, err := readDeviceKeys(s.tx, target, matrix.DeviceID(id))
	if err == nil && !found {
		err = errNoKey
	}
	if err != nil {
		return nil, nil, err
	}
	return d.object, s.only(selfSigning), nil
}

// masterOf finds the master key of another user.
func (s *signing) masterOf(target matrix.UserID) (*crossKey, error) {
	if !s.e.ours(target) {
		return s.others[target], nil
	}
	cross, err := readCrossKeysOf(s.tx, target)
	return cross[master], err
}

// masterKeys reads the master keys of users of other servers who are signed, from here or from there.
func (e *Encryption) masterKeys(ctx context.Context, signed Signed) (map[matrix.UserID]*crossKey, error) {
	theirs := make(Wanted)
	for target := range signed {
		if !e.ours(target) {
			theirs[target] = nil
		}
	}
	if len(theirs) == 0 {
		return nil, nil
	}
	told, err := e.Query(ctx, "", theirs, 0)
	if err != nil {
		return nil, err
	}
	keys := make(map[matrix.UserID]*crossKey)
	for user, raw := range told.Master {
		if keys[user], err = checkCrossKey(user, master, raw); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// only lets one of the cross-signing keys sign.
func (s *signing) only(usage string) func(string) (string, error) {
	return func(keyID string) (string, error) {
		if k := s.own[usage]; k != nil && k.keyID() == keyID {
			return k.public, nil
		}
		return "", nil
	}
}

// byDevices lets the user's devices sign.
func (s *signing) byDevices(keyID string) (string, error) {
	device, ok := signingDevice(keyID)
	if !ok {
		return "", nil
	}
	d, found, err := readDeviceKeys(s.tx, s.user, device)
	if err != nil || !found {
		return "", err
	}
	return d.Keys[keyID], nil
}

// signingDevice reads the device out of the id of its signing key.
func signingDevice(keyID string) (matrix.DeviceID, bool) {
	device, ok := strings.CutPrefix(keyID, "ed25519:")
	return matrix.DeviceID(device), ok
}

// tell stores the signatures and tells those who may see them.
func (s *signing) tell() error {
	if len(s.rows) == 0 {
		return nil
	}
	if len(s.listed) > 0 {
		if err := s.e.listChanged(s.tx, s.user, slices.Sorted(maps.Keys(s.listed))...); err != nil {
			return err
		}
	}
	pos, err := s.tx.NextPos(1)
	if err != nil {
		return err
	}
	if err := writeSignatures(s.tx, s.rows, pos); err != nil {
		return err
	}
	return noteKeys(s.tx, pos, s.user)
}
