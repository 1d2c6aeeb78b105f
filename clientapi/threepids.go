package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// threepidRoutes registers the endpoints of e-mail addresses and phone numbers. Accounts of this server have
// none: it sends neither e-mail nor text messages, and speaks to no identity server. Clients are told so in the
// words that the specification has for it.
func (a *API) threepidRoutes(r *httpapi.Router) {
	const own = "/account/3pid"
	login := httpapi.Limit("login")
	v3(r, "GET", own, httpapi.Authed(a.threepids))
	v3(r, "POST", own, httpapi.Authed(a.oldAddThreepid), login)
	v3(r, "POST", own+"/add", httpapi.Authed(a.addThreepid), login)
	v3(r, "POST", own+"/bind", httpapi.Authed(a.bindThreepid), login)
	v3(r, "POST", own+"/delete", httpapi.Authed(a.deleteThreepid), login)
	v3(r, "POST", own+"/unbind", httpapi.Authed(a.deleteThreepid), login)
	for _, of := range []string{"/register", "/account/password", own} {
		v3(r, "POST", of+"/email/requestToken", httpapi.Open(a.emailToken), login)
		v3(r, "POST", of+"/msisdn/requestToken", httpapi.Open(a.phoneToken), login)
	}
}

type threepidsResponse struct {
	Threepids []struct{} `json:"threepids"`
}

// threepids lists the caller's addresses: none.
//
// Spec: GET /_matrix/client/v3/account/3pid
func (a *API) threepids(context.Context, *httpapi.Caller, *none) (*threepidsResponse, error) {
	return &threepidsResponse{Threepids: []struct{}{}}, nil
}

// errNoThreepids refuses what the capability m.3pid_changes says is not possible.
var errNoThreepids = matrix.Forbidden("this server keeps no e-mail addresses and phone numbers")

type oldAddThreepidRequest struct {
	Credentials json.RawMessage `json:"three_pid_creds" required:"true"`
}

// oldAddThreepid refuses to add an address in the old form.
//
// Spec: POST /_matrix/client/v3/account/3pid
func (a *API) oldAddThreepid(context.Context, *httpapi.Caller, *oldAddThreepidRequest) (*none, error) {
	return nil, errNoThreepids
}

type addThreepidRequest struct {
	Secret  string `json:"client_secret" required:"true"`
	Session string `json:"sid" required:"true"`
}

// addThreepid refuses to add an address.
//
// Spec: POST /_matrix/client/v3/account/3pid/add
func (a *API) addThreepid(context.Context, *httpapi.Caller, *addThreepidRequest) (*none, error) {
	return nil, errNoThreepids
}

type bindThreepidRequest struct {
	addThreepidRequest
	IDServer string `json:"id_server" required:"true"`
	IDToken  string `json:"id_access_token" required:"true"`
}

// bindThreepid refuses to tell an identity server of an address.
//
// Spec: POST /_matrix/client/v3/account/3pid/bind
func (a *API) bindThreepid(_ context.Context, _ *httpapi.Caller, q *bindThreepidRequest) (*none, error) {
	return nil, matrix.E(matrix.CodeServerNotTrusted, "this server does not speak to the identity server %s", q.IDServer)
}

type deleteThreepidRequest struct {
	Medium   string `json:"medium" required:"true"`
	Address  string `json:"address" required:"true"`
	IDServer string `json:"id_server"`
}

// deleteThreepid removes an address of the caller. There are none, so it is not there in the end; no identity
// server was told.
//
// Spec: POST /_matrix/client/v3/account/3pid/delete
// Spec: POST /_matrix/client/v3/account/3pid/unbind
func (a *API) deleteThreepid(_ context.Context, _ *httpapi.Caller, q *deleteThreepidRequest) (*unbindResponse, error) {
	if q.Medium != "email" && q.Medium != "msisdn" {
		return nil, matrix.InvalidParam("medium must be email or msisdn")
	}
	return &unbindResponse{"no-support"}, nil
}

type tokenRequest struct {
	Secret  string `json:"client_secret" required:"true"`
	Attempt *int64 `json:"send_attempt" required:"true"`
}

type emailTokenRequest struct {
	tokenRequest
	Email string `json:"email" required:"true"`
}

// emailToken refuses to prove that somebody has an e-mail address.
//
// Spec: POST /_matrix/client/v3/register/email/requestToken
// Spec: POST /_matrix/client/v3/account/password/email/requestToken
// Spec: POST /_matrix/client/v3/account/3pid/email/requestToken
func (a *API) emailToken(context.Context, *httpapi.Caller, *emailTokenRequest) (*none, error) {
	return nil, matrix.E(matrix.CodeThreepidMediumNotSupported, "this server sends no e-mail")
}

type phoneTokenRequest struct {
	tokenRequest
	Country string `json:"country" required:"true"`
	Number  string `json:"phone_number" required:"true"`
}

// phoneToken refuses to prove that somebody has a phone number.
//
// Spec: POST /_matrix/client/v3/register/msisdn/requestToken
// Spec: POST /_matrix/client/v3/account/password/msisdn/requestToken
// Spec: POST /_matrix/client/v3/account/3pid/msisdn/requestToken
func (a *API) phoneToken(context.Context, *httpapi.Caller, *phoneTokenRequest) (*none, error) {
	return nil, matrix.E(matrix.CodeThreepidMediumNotSupported, "this server sends no text messages")
}
