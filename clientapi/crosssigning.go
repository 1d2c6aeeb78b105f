package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/e2ee"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) crossSigningRoutes(r *httpapi.Router) {
	v3(r, "POST", "/keys/device_signing/upload", httpapi.Authed(a.uploadCrossSigning), httpapi.Limit("login"))
	v3(r, "POST", "/keys/signatures/upload", httpapi.Authed(a.uploadSignatures), httpapi.Limit("ephemeral"))
}

type crossSigningRequest struct {
	Master      json.RawMessage `json:"master_key"`
	SelfSigning json.RawMessage `json:"self_signing_key"`
	UserSigning json.RawMessage `json:"user_signing_key"`
	Auth        json.RawMessage `json:"auth"`
}

// uploadCrossSigning publishes the caller's cross-signing keys. The first ones, and the same ones again, are
// taken without further authentication; others are not. Application services have no password.
//
// Spec: POST /_matrix/client/v3/keys/device_signing/upload
func (a *API) uploadCrossSigning(ctx context.Context, c *httpapi.Caller, q *crossSigningRequest) (*none, error) {
	keys := e2ee.CrossSigning{Master: q.Master, SelfSigning: q.SelfSigning, UserSigning: q.UserSigning}
	ask, err := a.encryption.UploadCrossSigning(ctx, c.User, keys, c.AppService != nil)
	if err != nil || !ask {
		return nil, err
	}
	o := account.Operation{
		Endpoint: "POST /keys/device_signing/upload", User: c.User, Body: keys, Auth: q.Auth, Flows: account.PasswordFlow,
	}
	if _, err := a.accounts.Confirm(ctx, o); err != nil {
		return nil, err
	}
	_, err = a.encryption.UploadCrossSigning(ctx, c.User, keys, true)
	return nil, err
}

type signaturesRequest struct {
	Signed json.RawMessage `body:"whole"`
}

type signaturesResponse struct {
	Failures e2ee.SignFailures `json:"failures"`
}

// uploadSignatures publishes signatures that the caller has made.
//
// Spec: POST /_matrix/client/v3/keys/signatures/upload
func (a *API) uploadSignatures(ctx context.Context, c *httpapi.Caller, q *signaturesRequest) (*signaturesResponse, error) {
	var signed e2ee.Signed
	if err := json.Unmarshal(q.Signed, &signed); err != nil {
		return nil, matrix.BadJSON("the body must be keys by user and key id")
	}
	failures, err := a.encryption.UploadSignatures(ctx, c.User, signed)
	if err != nil {
		return nil, err
	}
	return &signaturesResponse{failures}, nil
}
