package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) passwordRoutes(r *httpapi.Router) {
	v3(r, "POST", "/account/password", httpapi.Maybe(a.changePassword), httpapi.Limit("login"))
	v3(r, "POST", "/account/deactivate", httpapi.Maybe(a.deactivate), httpapi.Limit("login"))
}

type changePasswordRequest struct {
	Auth          json.RawMessage `json:"auth"`
	NewPassword   string          `json:"new_password" required:"true"`
	LogoutDevices *bool           `json:"logout_devices"`
}

// changePassword sets a new password. The session that asks stays; the others end, unless they are asked
// to stay.
//
// Spec: POST /_matrix/client/v3/account/password
func (a *API) changePassword(ctx context.Context, c *httpapi.Caller, q *changePasswordRequest) (*none, error) {
	if err := a.accounts.CheckPassword(q.NewPassword); err != nil {
		return nil, err
	}
	logout := q.LogoutDevices == nil || *q.LogoutDevices
	proof, err := a.accounts.Confirm(ctx, account.Operation{
		Endpoint: "POST /account/password", User: c.User, Body: logout, Auth: q.Auth, Flows: account.PasswordFlow,
	})
	if err != nil {
		return nil, err
	}
	return nil, a.accounts.SetPassword(ctx, proof.User, q.NewPassword, logout, c.Device)
}

type deactivateRequest struct {
	Auth     json.RawMessage   `json:"auth"`
	Erase    bool              `json:"erase"`
	IDServer matrix.ServerName `json:"id_server"`
}

type deactivateResponse struct {
	UnbindResult string `json:"id_server_unbind_result"`
}

// deactivate ends an account. Users of application services have no password by which they could confirm it.
//
// Spec: POST /_matrix/client/v3/account/deactivate
func (a *API) deactivate(ctx context.Context, c *httpapi.Caller, q *deactivateRequest) (*deactivateResponse, error) {
	if c.AppService == nil {
		_, err := a.accounts.Confirm(ctx, account.Operation{
			Endpoint: "POST /account/deactivate", User: c.User, Body: q.Erase, Auth: q.Auth, Flows: account.PasswordFlow,
		})
		if err != nil {
			return nil, err
		}
	}
	if err := a.accounts.Deactivate(ctx, c.User, q.Erase); err != nil {
		return nil, err
	}
	return &deactivateResponse{UnbindResult: "success"}, nil // there are no identifiers that could be bound
}
