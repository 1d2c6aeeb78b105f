package clientapi

import (
	"context"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) adminModerationRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	const user = synapseV1 + "users/{userID}/"
	r.Handle("POST", user+"shadow_ban", httpapi.Authed(a.adminShadowBan), admins)
	r.Handle("DELETE", user+"shadow_ban", httpapi.Authed(a.adminEndShadowBan), admins)
	r.Handle("GET", user+"override_ratelimit", httpapi.Authed(a.adminLimit), admins)
	r.Handle("POST", user+"override_ratelimit", httpapi.Authed(a.adminSetLimit), admins)
	r.Handle("DELETE", user+"override_ratelimit", httpapi.Authed(a.adminDropLimit), admins)
}

// adminShadowBan has what a user sends reach nobody, without telling them.
//
// Extension: POST /_synapse/admin/v1/users/{userId}/shadow_ban
func (a *API) adminShadowBan(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*none, error) {
	if _, err := a.moderated(ctx, q.User); err != nil {
		return nil, err
	}
	return nil, a.accounts.SetFlag(ctx, q.User, account.Shadowed, true)
}

// adminEndShadowBan has a user heard again. What they sent meanwhile stays unsent.
//
// Extension: DELETE /_synapse/admin/v1/users/{userId}/shadow_ban
func (a *API) adminEndShadowBan(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*none, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	return nil, a.accounts.SetFlag(ctx, q.User, account.Shadowed, false)
}

// adminLimitAnswer is empty where the user has no limit of their own.
type adminLimitAnswer struct {
	Rate  *int64 `json:"messages_per_second,omitempty"`
	Burst *int64 `json:"burst_count,omitempty"`
}

func newAdminLimit(l account.Limit) *adminLimitAnswer {
	if !l.Set() {
		return &adminLimitAnswer{}
	}
	return &adminLimitAnswer{&l.Rate, &l.Burst}
}

// adminLimit tells which limit of their own a user has for sending messages.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/override_ratelimit
func (a *API) adminLimit(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminLimitAnswer, error) {
	u, err := a.localUser(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return newAdminLimit(u.Limit), nil
}

type adminSetLimitRequest struct {
	User  matrix.UserID `path:"userID"`
	Rate  int64         `json:"messages_per_second"`
	Burst int64         `json:"burst_count"`
}

// limitMost bounds both numbers of a limit.
const limitMost = 1_000_000

// adminSetLimit gives a user a limit of their own for sending messages; 0 a second: they are not limited at all.
//
// Extension: POST /_synapse/admin/v1/users/{userId}/override_ratelimit
func (a *API) adminSetLimit(ctx context.Context, _ *httpapi.Caller, q *adminSetLimitRequest) (*adminLimitAnswer, error) {
	if q.Rate < 0 || q.Rate > limitMost || q.Burst < 0 || q.Burst > limitMost {
		return nil, matrix.InvalidParam("messages_per_second and burst_count must be between 0 and %d", limitMost)
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	l := account.Limit{Rate: q.Rate, Burst: q.Burst}
	return newAdminLimit(l), a.accounts.SetLimit(ctx, q.User, l)
}

// adminDropLimit has a user be limited as the settings say.
//
// Extension: DELETE /_synapse/admin/v1/users/{userId}/override_ratelimit
func (a *API) adminDropLimit(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*none, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	return nil, a.accounts.SetLimit(ctx, q.User, account.NoLimit)
}
