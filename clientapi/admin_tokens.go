package clientapi

import (
	"context"
	"encoding/json"
	"time"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) adminTokenRoutes(r *httpapi.Router) {
	const tokens = synapseV1 + "registration_tokens"
	r.Handle("GET", tokens, httpapi.Authed(a.adminTokens), httpapi.AdminsOnly())
	r.Handle("POST", tokens+"/new", httpapi.Authed(a.adminNewToken), httpapi.AdminsOnly())
	r.Handle("GET", tokens+"/{token}", httpapi.Authed(a.adminToken), httpapi.AdminsOnly())
	r.Handle("PUT", tokens+"/{token}", httpapi.Authed(a.adminChangeToken), httpapi.AdminsOnly())
	r.Handle("DELETE", tokens+"/{token}", httpapi.Authed(a.adminDeleteToken), httpapi.AdminsOnly())
}

type adminTokenEntry struct {
	Token       string `json:"token"`
	UsesAllowed *int64 `json:"uses_allowed"`
	Pending     int64  `json:"pending"`
	Completed   int64  `json:"completed"`
	Expires     *int64 `json:"expiry_time"`
}

func newAdminToken(t account.RegistrationToken) *adminTokenEntry {
	e := &adminTokenEntry{Token: t.Token, Completed: t.UsesDone}
	if t.UsesAllowed >= 0 {
		e.UsesAllowed = &t.UsesAllowed
	}
	if t.Expires != 0 {
		e.Expires = &t.Expires
	}
	return e
}

type adminTokensRequest struct {
	Valid *bool `query:"valid"`
}

type adminTokensResponse struct {
	Tokens []*adminTokenEntry `json:"registration_tokens"`
}

// adminTokens lists the registration tokens: all, those that are good, or those that are not.
//
// Extension: GET /_synapse/admin/v1/registration_tokens
func (a *API) adminTokens(ctx context.Context, _ *httpapi.Caller, q *adminTokensRequest) (*adminTokensResponse, error) {
	all, err := a.accounts.ListRegistrationTokens(ctx)
	if err != nil {
		return nil, err
	}
	answer := &adminTokensResponse{Tokens: []*adminTokenEntry{}}
	for _, t := range all {
		if q.Valid == nil || *q.Valid == t.Valid(a.now()) {
			answer.Tokens = append(answer.Tokens, newAdminToken(t))
		}
	}
	return answer, nil
}

type adminTokenRequest struct {
	Token string `path:"token"`
}

var errNoToken = matrix.NotFound("there is no such registration token")

// adminToken tells of a registration token.
//
// Extension: GET /_synapse/admin/v1/registration_tokens/{token}
func (a *API) adminToken(ctx context.Context, _ *httpapi.Caller, q *adminTokenRequest) (*adminTokenEntry, error) {
	t, found, err := a.accounts.RegistrationToken(ctx, q.Token)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoToken
	}
	return newAdminToken(t), nil
}

type adminNewTokenRequest struct {
	Token       string `json:"token"`
	UsesAllowed *int64 `json:"uses_allowed"`
	Expires     *int64 `json:"expiry_time"`
}

// adminNewToken makes a registration token.
//
// Extension: POST /_synapse/admin/v1/registration_tokens/new
func (a *API) adminNewToken(ctx context.Context, _ *httpapi.Caller, q *adminNewTokenRequest) (*adminTokenEntry, error) {
	uses, end := int64(-1), time.Time{}
	if q.UsesAllowed != nil {
		uses = *q.UsesAllowed
	}
	if q.Expires != nil {
		end = time.UnixMilli(*q.Expires)
	}
	if q.UsesAllowed != nil && uses < 0 || q.Expires != nil && end.Before(a.now()) {
		return nil, matrix.InvalidParam("uses_allowed cannot be negative, nor expiry_time past")
	}
	t, err := a.accounts.CreateRegistrationToken(ctx, q.Token, uses, end)
	if err != nil {
		return nil, err
	}
	return newAdminToken(t), nil
}

type adminChangeTokenRequest struct {
	Token       string          `path:"token"`
	UsesAllowed json.RawMessage `json:"uses_allowed"`
	Expires     json.RawMessage `json:"expiry_time"`
}

// adminChangeToken changes how often and until when a registration token is good. What is null is without end.
//
// Extension: PUT /_synapse/admin/v1/registration_tokens/{token}
func (a *API) adminChangeToken(ctx context.Context, _ *httpapi.Caller, q *adminChangeTokenRequest) (*adminTokenEntry, error) {
	uses, err := numberOr(q.UsesAllowed, -1)
	if err != nil {
		return nil, err
	}
	end, err := numberOr(q.Expires, 0)
	if err != nil {
		return nil, err
	}
	t, found, err := a.accounts.ChangeRegistrationToken(ctx, q.Token, uses, end)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoToken
	}
	return newAdminToken(t), nil
}

// numberOr reads a number of 0 at least: nil where it is not given, and without where it is null.
func numberOr(raw json.RawMessage, without int64) (*int64, error) {
	switch string(raw) {
	case "":
		return nil, nil
	case "null":
		return &without, nil
	}
	var n int64
	if err := json.Unmarshal(raw, &n); err != nil || n < 0 {
		return nil, matrix.InvalidParam("uses_allowed and expiry_time are whole numbers of 0 at least, or null")
	}
	return &n, nil
}

// adminDeleteToken removes a registration token.
//
// Extension: DELETE /_synapse/admin/v1/registration_tokens/{token}
func (a *API) adminDeleteToken(ctx context.Context, _ *httpapi.Caller, q *adminTokenRequest) (*none, error) {
	found, err := a.accounts.DeleteRegistrationToken(ctx, q.Token)
	if err == nil && !found {
		err = errNoToken
	}
	return nil, err
}
