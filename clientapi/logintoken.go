package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// stageToken is the type of logins by a token that another session has made.
const stageToken = "m.login.token"

func (a *API) loginTokenRoutes(r *httpapi.Router) {
	r.Handle("POST", "/_matrix/client/v1/login/get_token", httpapi.Authed(a.loginToken), httpapi.Limit("login"))
}

type loginTokenRequest struct {
	Auth json.RawMessage `json:"auth"`
}

type loginTokenResponse struct {
	Token     string `json:"login_token"`
	ExpiresIn int64  `json:"expires_in_ms"`
}

// loginToken lets the caller log in on another device, by a token that is good once. The caller proves again
// who they are.
//
// Spec: POST /_matrix/client/v1/login/get_token
func (a *API) loginToken(ctx context.Context, c *httpapi.Caller, q *loginTokenRequest) (*loginTokenResponse, error) {
	u, _, err := a.accounts.User(ctx, c.User)
	if err != nil {
		return nil, err
	}
	if !a.mayGetLoginToken(u) {
		return nil, matrix.Forbidden("you cannot make login tokens").WithStatus(400)
	}
	_, err = a.accounts.Confirm(ctx, account.Operation{
		Endpoint: "POST /login/get_token", User: c.User, Auth: q.Auth, Flows: account.PasswordFlow,
	})
	if err != nil {
		return nil, err
	}
	token, lifetime, err := a.accounts.LoginToken(ctx, c.User)
	if err != nil {
		return nil, err
	}
	return &loginTokenResponse{Token: token, ExpiresIn: lifetime.Milliseconds()}, nil
}

// mayGetLoginToken says whether a user can let another device in: who has no password cannot prove who they are.
func (a *API) mayGetLoginToken(u account.User) bool {
	return a.accounts.LoginTokens() && u.HasPassword()
}
