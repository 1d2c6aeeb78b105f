package clientapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"time"

	"astrocyte/config"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) callRoutes(r *httpapi.Router) {
	v3(r, "GET", "/voip/turnServer", httpapi.Authed(a.turnServer), httpapi.GuestsToo())
	v3(r, "POST", "/user/{userID}/openid/request_token", httpapi.Authed(a.openIDToken), httpapi.GuestsToo(), httpapi.Limit("login"))
	r.Handle("GET", "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", httpapi.Authed(a.transports))
}

type turnServerResponse struct {
	Username string   `json:"username,omitempty"`
	Password string   `json:"password,omitempty"`
	URIs     []string `json:"uris,omitempty"`
	TTL      int64    `json:"ttl,omitempty"` // seconds
}

// turnServer gives credentials for the TURN server that are good for a while: the time they end, signed
// with a secret that both servers know. Without one the answer is empty.
//
// Spec: GET /_matrix/client/v3/voip/turnServer
func (a *API) turnServer(_ context.Context, c *httpapi.Caller, _ *none) (*turnServerResponse, error) {
	t := a.calls.TURN
	if len(t.URIs) == 0 {
		return &turnServerResponse{}, nil
	}
	lifetime := time.Duration(t.Lifetime)
	username := fmt.Sprintf("%d:%s", a.now().Add(lifetime).Unix(), c.User)
	mac := hmac.New(sha1.New, []byte(t.SharedSecret))
	mac.Write([]byte(username))
	return &turnServerResponse{
		Username: username, Password: base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		URIs: t.URIs, TTL: int64(lifetime.Seconds()),
	}, nil
}

type openIDRequest struct {
	User matrix.UserID `path:"userID"`
}

type openIDResponse struct {
	Token  string            `json:"access_token"`
	Type   string            `json:"token_type"`
	Server matrix.ServerName `json:"matrix_server_name"`
	TTL    int64             `json:"expires_in"` // seconds
}

// openIDToken makes a token by which the caller proves to a third party who they are.
//
// Spec: POST /_matrix/client/v3/user/{userId}/openid/request_token
func (a *API) openIDToken(ctx context.Context, c *httpapi.Caller, q *openIDRequest) (*openIDResponse, error) {
	if err := own(c, q.User); err != nil {
		return nil, err
	}
	token, lifetime, err := a.accounts.OpenIDToken(ctx, c.User)
	if err != nil {
		return nil, err
	}
	return &openIDResponse{Token: token, Type: "Bearer", Server: a.server, TTL: int64(lifetime.Seconds())}, nil
}

// transport is a way by which calls of many reach each other.
//
// Extension: MSC4143, MSC4195.
type transport struct {
	Type string `json:"type"`
	URL  string `json:"livekit_service_url"`
}

type transportsResponse struct {
	Transports []transport `json:"rtc_transports"`
}

// transports lists the call services that this server recommends.
//
// Extension: GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports
func (a *API) transports(context.Context, *httpapi.Caller, *none) (*transportsResponse, error) {
	return &transportsResponse{Transports: transportsOf(a.calls)}, nil
}

func transportsOf(c config.Calls) []transport {
	out := []transport{}
	for _, url := range c.LiveKit {
		out = append(out, transport{Type: "livekit", URL: url})
	}
	return out
}
