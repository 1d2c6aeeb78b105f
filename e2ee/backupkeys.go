package e2ee

import (
	"context"
	"encoding/json"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// BackupKey is the key of a session in a backup.
//
// Spec: PUT /_matrix/client/v3/room_keys/keys (KeyBackupData).
type BackupKey struct {
	FirstIndex int64           `json:"first_message_index"`
	Forwarded  int64           `json:"forwarded_count"`
	Verified   bool            `json:"is_verified"`
	Session    json.RawMessage `json:"session_data"`
}

// BackupKeys are keys by room and session.
type BackupKeys map[matrix.RoomID]map[string]BackupKey

// ReadBackupKey reads a key that a client uploads.
func ReadBackupKey(raw json.RawMessage) (k BackupKey, err error) {
	var first, forwarded *int64
	var verified *bool
	var session json.RawMessage
	err = members(raw, map[string]any{
		"first_message_index": &first, "forwarded_count": &forwarded, "is_verified": &verified, "session_data": &session,
	})
	switch {
	case err != nil:
		return k, matrix.BadJSON("a key has members of a wrong type")
	case first == nil || forwarded == nil || verified == nil || session == nil:
		return k, matrix.BadJSON("a key needs first_message_index, forwarded_count, is_verified and session_data")
	case *first < 0 || *forwarded < 0:
		return k, matrix.InvalidParam("a key cannot have an index or a count below 0")
	case len(session) > maxSessionData:
		return k, matrix.E(matrix.CodeTooLarge, "session_data is larger than %d bytes", maxSessionData)
	}
	k = BackupKey{FirstIndex: *first, Forwarded: *forwarded, Verified: *verified}
	if k.Session, err = canonicaljson.Canonical(nil, session, canonicaljson.Strict); err != nil || k.Session[0] != '{' {
		return k, matrix.BadJSON("session_data must be an object")
	}
	return k, nil
}

// Stored is how a backup is after a change.
type Stored struct{ ETag, Count int64 }

const (
	// maxStored bounds the keys of one request, and maxBackedUp those of a backup.
	maxStored   = 20_000
	maxBackedUp = 1_000_000
)

// PutBackupKeys stores keys in the current backup. A key that is there stays, unless the new one is better:
// verified rather than not, then of a lower first index, then less often forwarded.
//
// Spec: CS "Backing up room keys" (PUT /_matrix/client/v3/room_keys/keys).
func (e *Encryption) PutBackupKeys(ctx context.Context, user matrix.UserID, version int64, keys BackupKeys) (s Stored, err error) {
	n := 0
	for _, sessions := range keys {
		n += len(sessions)
		for session := range sessions {
			if !isText(session, maxName) {
				return s, matrix.InvalidParam("a session ID must be text of at most %d bytes", maxName)
			}
		}
	}
	if n > maxStored {
		return s, matrix.InvalidParam("more than %d keys at once", maxStored)
	}
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		b, err := findBackup(tx, user, version)
		if err != nil {
			return err
		}
		now, _, err := currentBackup(tx, user)
		if err != nil {
			return err
		}
		if now.Version != version {
			return matrix.E(matrix.CodeWrongRoomKeysVersion, "this is not the current backup").
				With("current_version", strconv.FormatInt(now.Version, 10))
		}
		added, changed, err := mergeKeys(tx, user, version, keys)
		if err != nil {
			return err
		}
		s = Stored{b.ETag, b.Count + added}
		if s.Count > maxBackedUp {
			return matrix.E(matrix.CodeResourceLimitExceeded, "more than %d keys in the backup", maxBackedUp)
		}
		return s.note(tx, user, version, added, changed)
	})
	return s, err
}

// note stores how the backup is now, where any of its keys changed.
func (s *Stored) note(tx *store.Tx, user matrix.UserID, version, count, changed int64) error {
	if changed == 0 {
		return nil
	}
	s.ETag++
	return countKeys(tx, user, version, count)
}

// BackupKeys reads keys of a backup: all, those of a room, or one session.
func (e *Encryption) BackupKeys(ctx context.Context, user matrix.UserID, version int64, room matrix.RoomID, session string) (keys BackupKeys, err error) {
	err = e.db.View(ctx, func(tx *store.Tx) error {
		if _, err := findBackup(tx, user, version); err != nil {
			return err
		}
		keys, err = readBackupKeys(tx, user, version, room, session)
		return err
	})
	return keys, err
}

// DeleteBackupKeys deletes keys of a backup: all, those of a room, or one session.
func (e *Encryption) DeleteBackupKeys(ctx context.Context, user matrix.UserID, version int64, room matrix.RoomID, session string) (s Stored, err error) {
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		b, err := findBackup(tx, user, version)
		if err != nil {
			return err
		}
		n, err := deleteBackupKeys(tx, user, version, room, session)
		if err != nil {
			return err
		}
		s = Stored{b.ETag, b.Count - n}
		return s.note(tx, user, version, -n, n)
	})
	return s, err
}
