package clientapi

import (
	"context"
	"encoding/json"
	"strconv"

	"astrocyte/e2ee"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// maxBackupBody bounds a request with keys for the backup.
const maxBackupBody = 16 << 20

func (a *API) keyBackupRoutes(r *httpapi.Router) {
	limit := httpapi.Limit("ephemeral")
	v3(r, "POST", "/room_keys/version", httpapi.Authed(a.createBackup), limit)
	v3(r, "GET", "/room_keys/version", httpapi.Authed(a.currentBackup))
	v3(r, "GET", "/room_keys/version/{version}", httpapi.Authed(a.backup))
	v3(r, "PUT", "/room_keys/version/{version}", httpapi.Authed(a.updateBackup), limit)
	v3(r, "DELETE", "/room_keys/version/{version}", httpapi.Authed(a.deleteBackup), limit)

	size := httpapi.BodyLimit(maxBackupBody)
	v3(r, "PUT", "/room_keys/keys", httpapi.Authed(a.putAllBackupKeys), limit, size)
	v3(r, "GET", "/room_keys/keys", httpapi.Authed(a.allBackupKeys))
	v3(r, "DELETE", "/room_keys/keys", httpapi.Authed(a.deleteAllBackupKeys), limit)
	v3(r, "PUT", "/room_keys/keys/{roomID}", httpapi.Authed(a.putRoomBackupKeys), limit, size)
	v3(r, "GET", "/room_keys/keys/{roomID}", httpapi.Authed(a.roomBackupKeys))
	v3(r, "DELETE", "/room_keys/keys/{roomID}", httpapi.Authed(a.deleteRoomBackupKeys), limit)
	v3(r, "PUT", "/room_keys/keys/{roomID}/{sessionID}", httpapi.Authed(a.putBackupKey), limit)
	v3(r, "GET", "/room_keys/keys/{roomID}/{sessionID}", httpapi.Authed(a.backupKey))
	v3(r, "DELETE", "/room_keys/keys/{roomID}/{sessionID}", httpapi.Authed(a.deleteBackupKey), limit)
}

type createBackupRequest struct {
	Algorithm string          `json:"algorithm" required:"true"`
	AuthData  json.RawMessage `json:"auth_data" required:"true"`
}

type createBackupResponse struct {
	Version string `json:"version"`
}

// createBackup begins a new backup of the caller's room keys.
//
// Spec: POST /_matrix/client/v3/room_keys/version
func (a *API) createBackup(ctx context.Context, c *httpapi.Caller, q *createBackupRequest) (*createBackupResponse, error) {
	version, err := a.encryption.CreateBackup(ctx, c.User, q.Algorithm, q.AuthData)
	if err != nil {
		return nil, err
	}
	return &createBackupResponse{strconv.FormatInt(version, 10)}, nil
}

type backupResponse struct {
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
	Count     int64           `json:"count"`
	ETag      string          `json:"etag"`
	Version   string          `json:"version"`
}

// currentBackup tells of the current backup.
//
// Spec: GET /_matrix/client/v3/room_keys/version
func (a *API) currentBackup(ctx context.Context, c *httpapi.Caller, _ *none) (*backupResponse, error) {
	return a.readBackup(ctx, c, 0)
}

type backupRequest struct {
	Version string `path:"version"`
}

// backup tells of a backup.
//
// Spec: GET /_matrix/client/v3/room_keys/version/{version}
func (a *API) backup(ctx context.Context, c *httpapi.Caller, q *backupRequest) (*backupResponse, error) {
	version, err := e2ee.ParseVersion(q.Version)
	if err != nil {
		return nil, err
	}
	return a.readBackup(ctx, c, version)
}

func (a *API) readBackup(ctx context.Context, c *httpapi.Caller, version int64) (*backupResponse, error) {
	b, err := a.encryption.Backup(ctx, c.User, version)
	if err != nil {
		return nil, err
	}
	return &backupResponse{
		Algorithm: b.Algorithm, AuthData: b.AuthData, Count: b.Count,
		ETag: strconv.FormatInt(b.ETag, 10), Version: strconv.FormatInt(b.Version, 10),
	}, nil
}

type updateBackupRequest struct {
	Path      string          `path:"version"`
	Version   *string         `json:"version"`
	Algorithm string          `json:"algorithm" required:"true"`
	AuthData  json.RawMessage `json:"auth_data" required:"true"`
}

// updateBackup changes what is noted about a backup.
//
// Spec: PUT /_matrix/client/v3/room_keys/version/{version}
func (a *API) updateBackup(ctx context.Context, c *httpapi.Caller, q *updateBackupRequest) (*none, error) {
	version, err := e2ee.ParseVersion(q.Path)
	if err != nil {
		return nil, err
	}
	if q.Version != nil && *q.Version != q.Path {
		return nil, matrix.InvalidParam("the version in the body is another than that in the path")
	}
	return nil, a.encryption.UpdateBackup(ctx, c.User, version, q.Algorithm, q.AuthData)
}

// deleteBackup deletes a backup with its keys.
//
// Spec: DELETE /_matrix/client/v3/room_keys/version/{version}
func (a *API) deleteBackup(ctx context.Context, c *httpapi.Caller, q *backupRequest) (*none, error) {
	version, err := e2ee.ParseVersion(q.Version)
	if err != nil {
		return nil, err
	}
	return nil, a.encryption.DeleteBackup(ctx, c.User, version)
}
