package clientapi

import (
	"context"
	"strings"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) adminRegisterRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_synapse/admin/v1/register", httpapi.Open(a.registerNonce))
	r.Handle("POST", "/_synapse/admin/v1/register", httpapi.Open(a.registerBySecret), httpapi.Audited())
}

type nonceResponse struct {
	Nonce string `json:"nonce"`
}

// registerNonce begins a registration by the shared secret.
//
// Extension: GET /_synapse/admin/v1/register
func (a *API) registerNonce(context.Context, *httpapi.Caller, *none) (*nonceResponse, error) {
	nonce, ok := a.accounts.NewNonce()
	if !ok {
		return nil, matrix.E(matrix.CodeUnrecognized, "this server has no shared secret for registrations")
	}
	return &nonceResponse{Nonce: nonce}, nil
}

type registerBySecretRequest struct {
	Nonce       string `json:"nonce" required:"true"`
	Username    string `json:"username" required:"true"`
	Password    string `json:"password" required:"true"`
	DisplayName string `json:"displayname"`
	Admin       bool   `json:"admin"`
	UserType    string `json:"user_type"`
	MAC         string `json:"mac" required:"true"`
}

// registerBySecret makes an account for a program that knows the shared secret. It proves that by an
// HMAC-SHA1 of nonce, username, password and "admin" or "notadmin", separated by NUL, and of the user
// type where there is one. The form is that of Synapse's admin API, for which there are tools.
//
// Extension: POST /_synapse/admin/v1/register
func (a *API) registerBySecret(ctx context.Context, _ *httpapi.Caller, q *registerBySecretRequest) (*sessionResponse, error) {
	user, err := a.accounts.Available(ctx, strings.ToLower(q.Username))
	if err != nil {
		return nil, err
	}
	if err := a.accounts.CheckPassword(q.Password); err != nil {
		return nil, err
	}
	role := "notadmin"
	if q.Admin {
		role = "admin"
	}
	text := []string{q.Nonce, q.Username, q.Password, role}
	if q.UserType != "" {
		text = append(text, q.UserType)
	}
	if err := a.accounts.CheckSecret(ctx, q.Nonce, strings.Join(text, "\x00"), q.MAC); err != nil {
		return nil, err
	}
	u := account.NewUser{ID: user, Password: q.Password, Admin: q.Admin, DisplayName: q.DisplayName}
	s, err := a.accounts.Register(ctx, u, &account.NewDevice{})
	if err != nil {
		return nil, err
	}
	return newSession(s), nil
}
