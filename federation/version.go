package federation

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) versionRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/version", httpapi.Open(a.tellVersion), httpapi.NoLog())
	if a.wellKnown != "" {
		r.Handle("GET", "/.well-known/matrix/server", httpapi.Open(a.tellAddress))
	}
}

type versionResponse struct {
	Server serverVersion `json:"server"`
}

type serverVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// tellVersion tells which program this is.
//
// Spec: GET /_matrix/federation/v1/version
func (a *API) tellVersion(context.Context, *httpapi.Caller, *none) (*versionResponse, error) {
	return &versionResponse{serverVersion{Name: "Astrocyte", Version: a.version}}, nil
}

type addressResponse struct {
	Server string `json:"m.server"`
}

// tellAddress tells other servers where this one is, for a name that leads elsewhere.
//
// Spec: GET /.well-known/matrix/server
func (a *API) tellAddress(context.Context, *httpapi.Caller, *none) (*addressResponse, error) {
	if a.wellKnown == "" {
		return nil, matrix.NotFound("this server has no other address")
	}
	return &addressResponse{a.wellKnown}, nil
}
