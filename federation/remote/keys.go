package remote

import (
	"context"

	"astrocyte/e2ee"
	"astrocyte/federation/peer"
	"astrocyte/matrix"
)

// maxUserKeys bounds an answer with keys of users: some ten thousand devices.
const maxUserKeys = 16 << 20

// QueryKeys asks a server for the keys of its users.
//
// Spec: POST /_matrix/federation/v1/user/keys/query
func (r *Remote) QueryKeys(ctx context.Context, to matrix.ServerName, wanted e2ee.Wanted) (*e2ee.ServedKeys, error) {
	var answer e2ee.ServedKeys
	body := map[string]any{"device_keys": wanted}
	return &answer, r.client.Do(ctx, to, peer.Request{
		Method: "POST", Path: "/_matrix/federation/v1/user/keys/query", Body: body, Into: &answer, Limit: maxUserKeys,
	})
}

// ClaimKeys asks a server for one-time keys of its users.
//
// Spec: POST /_matrix/federation/v1/user/keys/claim
func (r *Remote) ClaimKeys(ctx context.Context, to matrix.ServerName, claims e2ee.Claims) (e2ee.Claimed, error) {
	var answer struct {
		Keys e2ee.Claimed `json:"one_time_keys"`
	}
	body := map[string]any{"one_time_keys": claims}
	err := r.client.Do(ctx, to, peer.Request{
		Method: "POST", Path: "/_matrix/federation/v1/user/keys/claim", Body: body, Into: &answer, Limit: maxUserKeys,
	})
	return answer.Keys, err
}

// Devices asks the server of a user for the list of their devices.
//
// Spec: GET /_matrix/federation/v1/user/devices/{userId}
func (r *Remote) Devices(ctx context.Context, user matrix.UserID) (*e2ee.DeviceList, error) {
	var answer e2ee.DeviceList
	return &answer, r.client.Do(ctx, user.Server(), peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/user/devices", string(user)), Into: &answer, Limit: maxUserKeys,
	})
}
