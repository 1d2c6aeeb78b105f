package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) loginRoutes(r *httpapi.Router) {
	v3(r, "GET", "/login", httpapi.Open(a.loginFlows))
	v3(r, "POST", "/login", httpapi.Open(a.login), httpapi.Limit("login"))
	v3(r, "POST", "/refresh", httpapi.Open(a.refresh), httpapi.Limit("login"))
	v3(r, "POST", "/logout", httpapi.Authed(a.logout), httpapi.GuestsToo(), httpapi.LockedToo())
	v3(r, "POST", "/logout/all", httpapi.Authed(a.logoutAll), httpapi.GuestsToo(), httpapi.LockedToo())
	v3(r, "GET", "/account/whoami", httpapi.Authed(a.whoAmI), httpapi.GuestsToo())
}

type loginFlow struct {
	Type     string `json:"type"`
	GetToken bool   `json:"get_login_token,omitempty"` // sessions can make such tokens
}

type loginFlowsResponse struct {
	Flows []loginFlow `json:"flows"`
}

// loginFlows lists the ways to log in.
//
// Spec: GET /_matrix/client/v3/login
func (a *API) loginFlows(context.Context, *httpapi.Caller, *none) (*loginFlowsResponse, error) {
	flows := []loginFlow{{Type: account.StagePassword}, {Type: stageAppService}}
	if a.accounts.LoginTokens() {
		flows = append(flows, loginFlow{Type: stageToken, GetToken: true})
	}
	return &loginFlowsResponse{Flows: flows}, nil
}

// newDevice is what requests say of the session that they make.
type newDevice struct {
	DeviceID     matrix.DeviceID `json:"device_id"`
	DeviceName   string          `json:"initial_device_display_name"`
	RefreshToken bool            `json:"refresh_token"`
}

// device checks what was said of the session.
func (d newDevice) device() (account.NewDevice, error) {
	return account.NewDevice{ID: d.DeviceID, Name: d.DeviceName, Refresh: d.RefreshToken},
		account.CheckDevice(d.DeviceID, d.DeviceName)
}

type loginRequest struct {
	Type       string          `json:"type" required:"true"`
	Identifier json.RawMessage `json:"identifier"`
	User       string          `json:"user"`
	Medium     string          `json:"medium"`
	Address    string          `json:"address"`
	Password   *string         `json:"password"`
	Token      string          `json:"token"`
	newDevice
	serviceToken
}

// sessionResponse is a new session, or what a refresh made of one.
type sessionResponse struct {
	UserID       matrix.UserID     `json:"user_id,omitempty"`
	HomeServer   matrix.ServerName `json:"home_server,omitempty"`
	DeviceID     matrix.DeviceID   `json:"device_id,omitempty"`
	AccessToken  string            `json:"access_token,omitempty"`
	RefreshToken string            `json:"refresh_token,omitempty"`
	ExpiresIn    int64             `json:"expires_in_ms,omitempty"`
}

// newSession is the answer that hands a session out.
func newSession(s *account.Session) *sessionResponse {
	return &sessionResponse{
		UserID: s.User, HomeServer: s.User.Server(), DeviceID: s.Device,
		AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, ExpiresIn: s.ExpiresIn.Milliseconds(),
	}
}

// login makes a session for a user who gives their password, or a token that another session has made.
//
// Spec: POST /_matrix/client/v3/login
func (a *API) login(ctx context.Context, _ *httpapi.Caller, q *loginRequest) (*sessionResponse, error) {
	d, err := q.device()
	if err != nil {
		return nil, err
	}
	var s *account.Session
	switch {
	case q.Type == stageAppService:
		return a.loginBridged(ctx, q)
	case q.Type == account.StagePassword:
		s, err = a.loginByPassword(ctx, q, d)
	case q.Type == stageToken && a.accounts.LoginTokens():
		if q.Token == "" {
			return nil, matrix.MissingParam("the token is missing")
		}
		s, err = a.accounts.LoginByToken(ctx, q.Token, d)
	default:
		return nil, matrix.E(matrix.CodeUnknown, "there is no log-in of type %q", q.Type)
	}
	if err != nil {
		return nil, err
	}
	return newSession(s), nil
}

func (a *API) loginByPassword(ctx context.Context, q *loginRequest, d account.NewDevice) (*account.Session, error) {
	name, err := q.name()
	if err != nil {
		return nil, err
	}
	if q.Password == nil {
		return nil, matrix.MissingParam("the password is missing")
	}
	return a.accounts.Login(ctx, name, *q.Password, d)
}

// name is who wants to log in.
func (q *loginRequest) name() (string, error) {
	switch {
	case len(q.Identifier) > 0 && string(q.Identifier) != "null":
		return account.ParseIdentifier(q.Identifier)
	case q.User != "":
		return q.User, nil
	case q.Medium != "" || q.Address != "":
		return "", matrix.Forbidden("wrong username or password")
	}
	return "", matrix.MissingParam("the identifier is missing")
}

type refreshRequest struct {
	RefreshToken string `json:"refresh_token" required:"true"`
}

// refresh gives new tokens for a refresh token.
//
// Spec: POST /_matrix/client/v3/refresh
func (a *API) refresh(ctx context.Context, _ *httpapi.Caller, q *refreshRequest) (*sessionResponse, error) {
	s, err := a.accounts.Refresh(ctx, q.RefreshToken)
	if err != nil {
		return nil, err
	}
	answer := newSession(s)
	answer.UserID, answer.HomeServer, answer.DeviceID = "", "", ""
	return answer, nil
}

// logout ends the caller's session.
//
// Spec: POST /_matrix/client/v3/logout
func (a *API) logout(ctx context.Context, c *httpapi.Caller, _ *none) (*none, error) {
	return nil, a.accounts.Logout(ctx, c.User, c.Device)
}

// logoutAll ends all sessions of the caller.
//
// Spec: POST /_matrix/client/v3/logout/all
func (a *API) logoutAll(ctx context.Context, c *httpapi.Caller, _ *none) (*none, error) {
	return nil, a.accounts.LogoutAll(ctx, c.User)
}

type whoAmIResponse struct {
	UserID   matrix.UserID   `json:"user_id"`
	DeviceID matrix.DeviceID `json:"device_id,omitempty"`
	IsGuest  bool            `json:"is_guest"`
}

// whoAmI tells whose token it is.
//
// Spec: GET /_matrix/client/v3/account/whoami
func (a *API) whoAmI(_ context.Context, c *httpapi.Caller, _ *none) (*whoAmIResponse, error) {
	return &whoAmIResponse{UserID: c.User, DeviceID: c.Device, IsGuest: c.Guest}, nil
}
