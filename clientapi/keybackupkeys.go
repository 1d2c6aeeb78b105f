package clientapi

import (
	"context"
	"encoding/json"
	"strconv"

	"astrocyte/e2ee"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// roomOfKeys are the keys of a room in a request.
type roomOfKeys struct {
	Sessions map[string]json.RawMessage `json:"sessions"`
}

// The forms of keys in answers.
type (
	backupRooms struct {
		Rooms map[matrix.RoomID]backupRoom `json:"rooms"`
	}
	backupRoom struct {
		Sessions map[string]e2ee.BackupKey `json:"sessions"`
	}
	backupStored struct {
		ETag  string `json:"etag"`
		Count int64  `json:"count"`
	}
)

type putAllBackupKeysRequest struct {
	Version string                       `query:"version" required:"true"`
	Rooms   map[matrix.RoomID]roomOfKeys `json:"rooms" required:"true"`
}

// putAllBackupKeys stores keys of several rooms.
//
// Spec: PUT /_matrix/client/v3/room_keys/keys
func (a *API) putAllBackupKeys(ctx context.Context, c *httpapi.Caller, q *putAllBackupKeysRequest) (*backupStored, error) {
	return a.putBackupKeys(ctx, c, q.Version, q.Rooms)
}

type putRoomBackupKeysRequest struct {
	Version  string                     `query:"version" required:"true"`
	RoomID   matrix.RoomID              `path:"roomID"`
	Sessions map[string]json.RawMessage `json:"sessions" required:"true"`
}

// putRoomBackupKeys stores keys of a room.
//
// Spec: PUT /_matrix/client/v3/room_keys/keys/{roomId}
func (a *API) putRoomBackupKeys(ctx context.Context, c *httpapi.Caller, q *putRoomBackupKeysRequest) (*backupStored, error) {
	return a.putBackupKeys(ctx, c, q.Version, map[matrix.RoomID]roomOfKeys{q.RoomID: {q.Sessions}})
}

type putBackupKeyRequest struct {
	Version   string          `query:"version" required:"true"`
	RoomID    matrix.RoomID   `path:"roomID"`
	SessionID string          `path:"sessionID"`
	Key       json.RawMessage `body:"whole"`
}

// putBackupKey stores the key of a session.
//
// Spec: PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}
func (a *API) putBackupKey(ctx context.Context, c *httpapi.Caller, q *putBackupKeyRequest) (*backupStored, error) {
	sessions := map[string]json.RawMessage{q.SessionID: q.Key}
	return a.putBackupKeys(ctx, c, q.Version, map[matrix.RoomID]roomOfKeys{q.RoomID: {sessions}})
}

func (a *API) putBackupKeys(ctx context.Context, c *httpapi.Caller, text string, rooms map[matrix.RoomID]roomOfKeys) (*backupStored, error) {
	version, err := e2ee.ParseVersion(text)
	if err != nil {
		return nil, err
	}
	keys := make(e2ee.BackupKeys, len(rooms))
	for room, of := range rooms {
		if _, err := matrix.ParseRoomID(string(room)); err != nil {
			return nil, err
		}
		keys[room] = make(map[string]e2ee.BackupKey, len(of.Sessions))
		for session, raw := range of.Sessions {
			if keys[room][session], err = e2ee.ReadBackupKey(raw); err != nil {
				return nil, err
			}
		}
	}
	return storedAs(a.encryption.PutBackupKeys(ctx, c.User, version, keys))
}

func storedAs(s e2ee.Stored, err error) (*backupStored, error) {
	if err != nil {
		return nil, err
	}
	return &backupStored{strconv.FormatInt(s.ETag, 10), s.Count}, nil
}

// backupKeysRequest names keys of a backup: all, those of a room, or one.
type backupKeysRequest struct {
	Version string `query:"version" required:"true"`
}

type roomBackupKeysRequest struct {
	backupKeysRequest
	RoomID matrix.RoomID `path:"roomID"`
}

type backupKeyRequest struct {
	roomBackupKeysRequest
	SessionID string `path:"sessionID"`
}

// allBackupKeys tells all keys of a backup.
//
// Spec: GET /_matrix/client/v3/room_keys/keys
func (a *API) allBackupKeys(ctx context.Context, c *httpapi.Caller, q *backupKeysRequest) (*backupRooms, error) {
	keys, err := a.readBackupKeys(ctx, c, q.Version, "", "")
	if err != nil {
		return nil, err
	}
	answer := &backupRooms{make(map[matrix.RoomID]backupRoom, len(keys))}
	for room, sessions := range keys {
		answer.Rooms[room] = backupRoom{sessions}
	}
	return answer, nil
}

// roomBackupKeys tells the keys of a room.
//
// Spec: GET /_matrix/client/v3/room_keys/keys/{roomId}
func (a *API) roomBackupKeys(ctx context.Context, c *httpapi.Caller, q *roomBackupKeysRequest) (*backupRoom, error) {
	keys, err := a.readBackupKeys(ctx, c, q.Version, q.RoomID, "")
	if err != nil {
		return nil, err
	}
	if keys[q.RoomID] == nil {
		return &backupRoom{map[string]e2ee.BackupKey{}}, nil
	}
	return &backupRoom{keys[q.RoomID]}, nil
}

// backupKey tells the key of a session.
//
// Spec: GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}
func (a *API) backupKey(ctx context.Context, c *httpapi.Caller, q *backupKeyRequest) (*e2ee.BackupKey, error) {
	keys, err := a.readBackupKeys(ctx, c, q.Version, q.RoomID, q.SessionID)
	if err != nil {
		return nil, err
	}
	k, found := keys[q.RoomID][q.SessionID]
	if !found {
		return nil, matrix.NotFound("the key is not in the backup")
	}
	return &k, nil
}

func (a *API) readBackupKeys(ctx context.Context, c *httpapi.Caller, text string, room matrix.RoomID, session string) (e2ee.BackupKeys, error) {
	version, err := e2ee.ParseVersion(text)
	if err != nil {
		return nil, err
	}
	return a.encryption.BackupKeys(ctx, c.User, version, room, session)
}

// deleteAllBackupKeys deletes all keys of a backup.
//
// Spec: DELETE /_matrix/client/v3/room_keys/keys
func (a *API) deleteAllBackupKeys(ctx context.Context, c *httpapi.Caller, q *backupKeysRequest) (*backupStored, error) {
	return a.deleteBackupKeys(ctx, c, q.Version, "", "")
}

// deleteRoomBackupKeys deletes the keys of a room.
//
// Spec: DELETE /_matrix/client/v3/room_keys/keys/{roomId}
func (a *API) deleteRoomBackupKeys(ctx context.Context, c *httpapi.Caller, q *roomBackupKeysRequest) (*backupStored, error) {
	return a.deleteBackupKeys(ctx, c, q.Version, q.RoomID, "")
}

// deleteBackupKey deletes the key of a session.
//
// Spec: DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}
func (a *API) deleteBackupKey(ctx context.Context, c *httpapi.Caller, q *backupKeyRequest) (*backupStored, error) {
	return a.deleteBackupKeys(ctx, c, q.Version, q.RoomID, q.SessionID)
}

func (a *API) deleteBackupKeys(ctx context.Context, c *httpapi.Caller, text string, room matrix.RoomID, session string) (*backupStored, error) {
	version, err := e2ee.ParseVersion(text)
	if err != nil {
		return nil, err
	}
	return storedAs(a.encryption.DeleteBackupKeys(ctx, c.User, version, room, session))
}
