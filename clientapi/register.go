package clientapi

import (
	"context"
	"encoding/json"
	"strings"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) registerRoutes(r *httpapi.Router) {
	v3(r, "POST", "/register", httpapi.Open(a.register), httpapi.Limit("register"))
	v3(r, "GET", "/register/available", httpapi.Open(a.usernameAvailable), httpapi.Limit("login"))
	r.Handle("GET", "/_matrix/client/v1/register/m.login.registration_token/validity",
		httpapi.Open(a.registrationTokenValidity), httpapi.Limit("login"))
}

type registerRequest struct {
	Kind         string          `query:"kind"`
	Auth         json.RawMessage `json:"auth"`
	Username     *string         `json:"username"`
	Password     *string         `json:"password"`
	InhibitLogin bool            `json:"inhibit_login"`
	Type         string          `json:"type"`
	GuestToken   string          `json:"guest_access_token"`
	newDevice
	serviceToken
}

// register makes an account.
//
// Spec: POST /_matrix/client/v3/register
func (a *API) register(ctx context.Context, _ *httpapi.Caller, q *registerRequest) (*sessionResponse, error) {
	switch {
	case q.Type == stageAppService:
		return a.registerBridged(ctx, q)
	case q.Kind == "guest":
		return a.registerGuest(ctx, q)
	}
	flows, err := a.registrationFlows(q.Kind)
	if err != nil {
		return nil, err
	}
	u, d, err := a.wanted(ctx, q)
	if err != nil {
		return nil, err
	}
	proof, err := a.accounts.Confirm(ctx, account.Operation{
		Endpoint: "POST /register", Body: struct{ Username *string }{q.Username}, Auth: q.Auth, Flows: flows,
	})
	if err != nil {
		return nil, err
	}
	if u.Password == "" {
		return nil, matrix.MissingParam("the password is missing")
	}
	if u.ID == "" {
		u.ID = a.accounts.FreeName()
	}
	u.Token = proof.RegistrationToken
	s, err := a.accounts.Register(ctx, u, d)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return &sessionResponse{UserID: u.ID, HomeServer: a.server}, nil
	}
	return newSession(s), nil
}

// registrationFlows tells what has to be proven to register.
func (a *API) registrationFlows(kind string) ([][]string, error) {
	reg := a.accounts.Registration()
	switch {
	case kind != "" && kind != "user":
		return nil, matrix.InvalidParam("kind must be user or guest")
	case !reg.Enabled:
		return nil, matrix.Forbidden("registration is closed")
	case reg.TokenRequired:
		return [][]string{{account.StageRegistrationToken}}, nil
	}
	return [][]string{{account.StageDummy}}, nil
}

// wanted checks the account and the session that are asked for: before the authentication, since nobody
// should prove something for what they cannot have. A client that asks for the flows sends neither name
// nor password.
func (a *API) wanted(ctx context.Context, q *registerRequest) (u account.NewUser, d *account.NewDevice, err error) {
	device, err := q.device()
	if err != nil {
		return u, nil, err
	}
	if !q.InhibitLogin {
		d = &device
	}
	name := ""
	if q.Username != nil {
		name = strings.ToLower(*q.Username)
	}
	switch {
	case q.GuestToken != "":
		u.Upgrade = true
		if u.ID, err = a.guestOf(ctx, q.GuestToken, name); err != nil {
			return u, nil, err
		}
	case name != "":
		if u.ID, err = a.accounts.Available(ctx, name); err != nil {
			return u, nil, err
		}
	}
	if q.Password != nil {
		u.Password = *q.Password
		err = a.accounts.CheckPassword(u.Password)
	}
	return u, d, err
}

type availableRequest struct {
	Username string `query:"username" required:"true"`
}

type availableResponse struct {
	Available bool `json:"available"`
}

// usernameAvailable says whether a new user could have a name.
//
// Spec: GET /_matrix/client/v3/register/available
func (a *API) usernameAvailable(ctx context.Context, _ *httpapi.Caller, q *availableRequest) (*availableResponse, error) {
	if _, err := a.accounts.Available(ctx, strings.ToLower(q.Username)); err != nil {
		return nil, err
	}
	return &availableResponse{Available: true}, nil
}

type tokenValidityRequest struct {
	Token string `query:"token" required:"true"`
}

type tokenValidityResponse struct {
	Valid bool `json:"valid"`
}

// registrationTokenValidity says whether somebody could register with a token.
//
// Spec: GET /_matrix/client/v1/register/m.login.registration_token/validity
func (a *API) registrationTokenValidity(ctx context.Context, _ *httpapi.Caller, q *tokenValidityRequest) (*tokenValidityResponse, error) {
	if !a.accounts.Registration().Enabled {
		return nil, matrix.Forbidden("registration is closed")
	}
	valid, err := a.accounts.RegistrationTokenValid(ctx, q.Token)
	if err != nil {
		return nil, err
	}
	return &tokenValidityResponse{Valid: valid}, nil
}
