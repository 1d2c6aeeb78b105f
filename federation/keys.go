package federation

import (
	"context"
	"encoding/json"

	"astrocyte/federation/peer"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) keyRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/key/v2/server", httpapi.Open(a.ownKeys))
	r.Handle("GET", "/_matrix/key/v2/server/{keyID}", httpapi.Open(a.ownKeys)) // as servers before v1.1 ask
	r.Handle("GET", "/_matrix/key/v2/query/{serverName}", httpapi.Open(a.queryServerKeys), httpapi.Limit("keys"))
	r.Handle("GET", "/_matrix/key/v2/query/{serverName}/{keyID}", httpapi.Open(a.queryServerKeys), httpapi.Limit("keys")) // as servers before v1.1 ask
	r.Handle("POST", "/_matrix/key/v2/query", httpapi.Open(a.queryKeys), httpapi.Limit("keys"), httpapi.BodyLimit(maxKeyQuery))
}

// maxKeyQuery bounds the body of a question for many servers' keys.
const maxKeyQuery = 256 << 10

// ownKeys tells the keys with which this server signs.
//
// Spec: GET /_matrix/key/v2/server
func (a *API) ownKeys(_ context.Context, _ *httpapi.Caller, _ *none) (*json.RawMessage, error) {
	keys, err := a.keys.Own()
	return &keys, err
}

type serverKeysRequest struct {
	Server       matrix.ServerName `path:"serverName"`
	MinimumValid int64             `query:"minimum_valid_until_ts"`
}

type keysResponse struct {
	Keys []json.RawMessage `json:"server_keys"`
}

// queryServerKeys tells the keys of another server, as their notary.
//
// Spec: GET /_matrix/key/v2/query/{serverName}
func (a *API) queryServerKeys(ctx context.Context, _ *httpapi.Caller, q *serverKeysRequest) (*keysResponse, error) {
	all := peer.KeyCriteria{"": {MinimumValidUntil: q.MinimumValid}}
	return a.notarized(ctx, map[matrix.ServerName]peer.KeyCriteria{q.Server: all})
}

type keysRequest struct {
	Servers map[matrix.ServerName]peer.KeyCriteria `json:"server_keys" required:"true"`
}

// queryKeys tells the keys of other servers, as their notary.
//
// Spec: POST /_matrix/key/v2/query
func (a *API) queryKeys(ctx context.Context, _ *httpapi.Caller, q *keysRequest) (*keysResponse, error) {
	return a.notarized(ctx, q.Servers)
}

func (a *API) notarized(ctx context.Context, wanted map[matrix.ServerName]peer.KeyCriteria) (*keysResponse, error) {
	keys, err := a.keys.Notarize(ctx, wanted)
	if err != nil {
		return nil, err
	}
	return &keysResponse{keys}, nil
}
