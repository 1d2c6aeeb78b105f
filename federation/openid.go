package federation

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) openIDRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/openid/userinfo", httpapi.Open(a.openIDUser))
}

type openIDRequest struct {
	Token string `query:"access_token"`
}

type openIDResponse struct {
	User matrix.UserID `json:"sub"`
}

// openIDUser tells a third party who made the token that it was shown.
//
// Spec: GET /_matrix/federation/v1/openid/userinfo
func (a *API) openIDUser(ctx context.Context, _ *httpapi.Caller, q *openIDRequest) (*openIDResponse, error) {
	if q.Token == "" {
		return nil, matrix.E(matrix.CodeMissingToken, "the parameter access_token is missing")
	}
	user, ok, err := a.accounts.OpenIDUser(ctx, q.Token)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, matrix.E(matrix.CodeUnknownToken, "the token is not known, or is over")
	}
	return &openIDResponse{user}, nil
}
