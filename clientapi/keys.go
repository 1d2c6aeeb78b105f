package clientapi

import (
	"context"
	"encoding/json"
	"time"

	"astrocyte/e2ee"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) keyRoutes(r *httpapi.Router) {
	v3(r, "POST", "/keys/upload", httpapi.Authed(a.uploadKeys), httpapi.GuestsToo(), httpapi.Limit("ephemeral"))
	v3(r, "POST", "/keys/query", httpapi.Authed(a.queryKeys), httpapi.GuestsToo(), httpapi.Limit("ephemeral"))
	v3(r, "POST", "/keys/claim", httpapi.Authed(a.claimKeys), httpapi.GuestsToo(), httpapi.Limit("ephemeral"))
	v3(r, "GET", "/keys/changes", httpapi.Authed(a.keyChanges), httpapi.GuestsToo())
}

type uploadKeysRequest struct {
	DeviceKeys   json.RawMessage            `json:"device_keys"`
	OneTimeKeys  map[string]json.RawMessage `json:"one_time_keys"`
	FallbackKeys map[string]json.RawMessage `json:"fallback_keys"`
}

type uploadKeysResponse struct {
	Counts map[string]int64 `json:"one_time_key_counts"`
}

// uploadKeys publishes keys of the caller's device.
//
// Spec: POST /_matrix/client/v3/keys/upload
func (a *API) uploadKeys(ctx context.Context, c *httpapi.Caller, q *uploadKeysRequest) (*uploadKeysResponse, error) {
	if c.Device == "" {
		return nil, errNeedsDevice
	}
	counts, err := a.encryption.Upload(ctx, c.User, c.Device, e2ee.Upload{
		DeviceKeys: q.DeviceKeys, OneTime: q.OneTimeKeys, Fallback: q.FallbackKeys,
	})
	if err != nil {
		return nil, err
	}
	return &uploadKeysResponse{counts}, nil
}

var errNeedsDevice = matrix.InvalidParam("this needs a device, and the access token has none")

type queryKeysRequest struct {
	DeviceKeys e2ee.Wanted `json:"device_keys" required:"true"`
	Timeout    int64       `json:"timeout"` // milliseconds that other servers have to answer
}

type queryKeysResponse struct {
	Devices     map[matrix.UserID]map[matrix.DeviceID]json.RawMessage `json:"device_keys"`
	Master      map[matrix.UserID]json.RawMessage                     `json:"master_keys"`
	SelfSigning map[matrix.UserID]json.RawMessage                     `json:"self_signing_keys"`
	UserSigning map[matrix.UserID]json.RawMessage                     `json:"user_signing_keys"`
	Failures    e2ee.Failures                                         `json:"failures"`
}

// queryKeys tells the identity keys of users' devices.
//
// Spec: POST /_matrix/client/v3/keys/query
func (a *API) queryKeys(ctx context.Context, c *httpapi.Caller, q *queryKeysRequest) (*queryKeysResponse, error) {
	k, err := a.encryption.Query(ctx, c.User, q.DeviceKeys, millis(q.Timeout))
	if err != nil {
		return nil, err
	}
	answer := queryKeysResponse(*k)
	return &answer, nil
}

// millis is a time in milliseconds; one that cannot be is none.
func millis(n int64) time.Duration {
	if n <= 0 || n > time.Hour.Milliseconds() {
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

type claimKeysRequest struct {
	OneTimeKeys e2ee.Claims `json:"one_time_keys" required:"true"`
	Timeout     int64       `json:"timeout"`
}

type claimKeysResponse struct {
	OneTimeKeys e2ee.Claimed  `json:"one_time_keys"`
	Failures    e2ee.Failures `json:"failures"`
}

// claimKeys gives out one-time keys.
//
// Spec: POST /_matrix/client/v3/keys/claim
func (a *API) claimKeys(ctx context.Context, _ *httpapi.Caller, q *claimKeysRequest) (*claimKeysResponse, error) {
	keys, failures, err := a.encryption.Claim(ctx, q.OneTimeKeys, millis(q.Timeout))
	if err != nil {
		return nil, err
	}
	return &claimKeysResponse{keys, failures}, nil
}

type keyChangesRequest struct {
	From string `query:"from" required:"true"`
	To   string `query:"to" required:"true"`
}

type keyChangesResponse struct {
	Changed []matrix.UserID `json:"changed"`
	Left    []matrix.UserID `json:"left"`
}

// keyChanges tells whose devices changed since a token of /sync. What came after the second token is told
// as well: the client would hear of it next.
//
// Spec: GET /_matrix/client/v3/keys/changes
func (a *API) keyChanges(ctx context.Context, c *httpapi.Caller, q *keyChangesRequest) (*keyChangesResponse, error) {
	from, err := a.position(q.From)
	if err != nil {
		return nil, err
	}
	if _, err := a.position(q.To); err != nil {
		return nil, err
	}
	l, err := a.encryption.Changes(ctx, c.User, from)
	if err != nil {
		return nil, err
	}
	return &keyChangesResponse{listed(l.Changed), listed(l.Left)}, nil
}

// listed is a list that is written as one where it is empty.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
