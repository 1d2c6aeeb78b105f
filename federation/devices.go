package federation

import (
	"context"

	"astrocyte/e2ee"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) deviceRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/user/devices/{userID}", httpapi.Signed(a.userDevices))
	r.Handle("POST", "/_matrix/federation/v1/user/keys/query", httpapi.Signed(a.queryUserKeys))
	r.Handle("POST", "/_matrix/federation/v1/user/keys/claim", httpapi.Signed(a.claimKeys))
}

type userDevicesRequest struct {
	User matrix.UserID `path:"userID"`
}

// userDevices lists the devices of a user of this server.
//
// Spec: GET /_matrix/federation/v1/user/devices/{userId}
func (a *API) userDevices(ctx context.Context, _ *httpapi.Caller, q *userDevicesRequest) (*e2ee.DeviceList, error) {
	return a.encryption.ListOurs(ctx, q.User)
}

type userKeysRequest struct {
	Users e2ee.Wanted `json:"device_keys" required:"true"`
}

// queryUserKeys tells the keys of users of this server.
//
// Spec: POST /_matrix/federation/v1/user/keys/query
func (a *API) queryUserKeys(ctx context.Context, _ *httpapi.Caller, q *userKeysRequest) (*e2ee.ServedKeys, error) {
	return a.encryption.QueryOurs(ctx, q.Users)
}

type claimKeysRequest struct {
	Claims e2ee.Claims `json:"one_time_keys" required:"true"`
}

type claimKeysResponse struct {
	Keys e2ee.Claimed `json:"one_time_keys"`
}

// claimKeys gives out one-time keys of users of this server.
//
// Spec: POST /_matrix/federation/v1/user/keys/claim
func (a *API) claimKeys(ctx context.Context, _ *httpapi.Caller, q *claimKeysRequest) (*claimKeysResponse, error) {
	keys, err := a.encryption.ClaimOurs(ctx, q.Claims)
	if err != nil {
		return nil, err
	}
	return &claimKeysResponse{keys}, nil
}
