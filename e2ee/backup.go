package e2ee

import (
	"context"
	"encoding/json"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// Backup is a version of a user's key backup.
//
// Spec: GET /_matrix/client/v3/room_keys/version
type Backup struct {
	Version   int64
	Algorithm string
	AuthData  json.RawMessage
	ETag      int64
	Count     int64
	deleted   bool
}

// maxAuthData bounds what a client notes about a backup.
const maxAuthData = 64 << 10

var errNoBackup = matrix.NotFound("there is no such key backup")

// ParseVersion reads the version of a backup. What this server never gave is none of its backups.
func ParseVersion(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != text {
		return 0, errNoBackup
	}
	return n, nil
}

// CreateBackup begins a new version, which is the current one from then on.
func (e *Encryption) CreateBackup(ctx context.Context, user matrix.UserID, algorithm string, authData json.RawMessage) (version int64, err error) {
	if authData, err = checkBackup(algorithm, authData); err != nil {
		return 0, err
	}
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		last, err := lastVersion(tx, user)
		if err != nil {
			return err
		}
		version = last + 1
		return insertBackup(tx, user, Backup{Version: version, Algorithm: algorithm, AuthData: authData})
	})
	return version, err
}

func checkBackup(algorithm string, authData json.RawMessage) (json.RawMessage, error) {
	if !isName(algorithm) {
		return nil, matrix.InvalidParam("the algorithm must be a name")
	}
	if len(authData) > maxAuthData {
		return nil, matrix.E(matrix.CodeTooLarge, "auth_data is larger than %d bytes", maxAuthData)
	}
	canonical, err := canonicaljson.Canonical(nil, authData, canonicaljson.Strict)
	if err != nil || canonical[0] != '{' {
		return nil, matrix.BadJSON("auth_data must be an object")
	}
	return canonical, nil
}

// Backup reads a version of the backup; 0 is the current one.
func (e *Encryption) Backup(ctx context.Context, user matrix.UserID, version int64) (b Backup, err error) {
	err = e.db.View(ctx, func(tx *store.Tx) (err error) {
		b, err = findBackup(tx, user, version)
		return err
	})
	return b, err
}

func findBackup(tx *store.Tx, user matrix.UserID, version int64) (Backup, error) {
	if version == 0 {
		b, found, err := currentBackup(tx, user)
		if err == nil && !found {
			err = errNoBackup
		}
		return b, err
	}
	b, found, err := readBackup(tx, user, version)
	if err == nil && (!found || b.deleted) {
		err = errNoBackup
	}
	return b, err
}

// UpdateBackup replaces what the client notes about a backup. The algorithm must stay.
func (e *Encryption) UpdateBackup(ctx context.Context, user matrix.UserID, version int64, algorithm string, authData json.RawMessage) error {
	authData, err := checkBackup(algorithm, authData)
	if err != nil {
		return err
	}
	return e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		b, err := findBackup(tx, user, version)
		if err != nil {
			return err
		}
		if b.Algorithm != algorithm {
			return matrix.InvalidParam("the algorithm of a backup cannot be changed")
		}
		return updateBackup(tx, user, version, authData)
	})
}

// DeleteBackup deletes a version with its keys. To delete it again does nothing.
func (e *Encryption) DeleteBackup(ctx context.Context, user matrix.UserID, version int64) error {
	return e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		_, found, err := readBackup(tx, user, version)
		if err != nil {
			return err
		}
		if !found {
			return errNoBackup
		}
		return deleteBackup(tx, user, version)
	})
}
