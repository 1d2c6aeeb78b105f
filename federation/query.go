package federation

import (
	"context"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) queryRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/query/directory", httpapi.Signed(a.queryDirectory))
	r.Handle("GET", "/_matrix/federation/v1/query/profile", httpapi.Signed(a.queryProfile))
	r.Handle("GET", "/_matrix/federation/v1/query/{queryType}", httpapi.Signed(a.queryOther))
}

type directoryRequest struct {
	Alias matrix.RoomAlias `query:"room_alias" required:"true"`
}

type directoryResponse struct {
	RoomID  matrix.RoomID       `json:"room_id"`
	Servers []matrix.ServerName `json:"servers"`
}

// queryDirectory finds the room of an alias of this server.
//
// Spec: GET /_matrix/federation/v1/query/directory
func (a *API) queryDirectory(ctx context.Context, _ *httpapi.Caller, q *directoryRequest) (*directoryResponse, error) {
	if q.Alias.Server() != a.server {
		return nil, matrix.NotFound("%s is not an alias of this server", q.Alias)
	}
	room, servers, err := a.services.RoomOfAlias(ctx, q.Alias)
	if err != nil {
		return nil, err
	}
	return &directoryResponse{RoomID: room, Servers: servers}, nil
}

type profileRequest struct {
	User  matrix.UserID `query:"user_id" required:"true"`
	Field string        `query:"field"`
}

// queryProfile tells the profile of a user of this server, or one field of it.
//
// Spec: GET /_matrix/federation/v1/query/profile
func (a *API) queryProfile(ctx context.Context, _ *httpapi.Caller, q *profileRequest) (*account.Fields, error) {
	if q.User.Server() != a.server {
		return nil, matrix.NotFound("%s is not a user of this server", q.User)
	}
	fields, err := a.services.Profile(ctx, q.User)
	if err != nil {
		return nil, err
	}
	if q.Field == "" {
		return &fields, nil
	}
	only := account.Fields{}
	if value, has := fields[q.Field]; has {
		only[q.Field] = value
	}
	return &only, nil
}

type otherQueryRequest struct {
	Type string `path:"queryType"`
}

// queryOther refuses questions of kinds that nobody has specified.
//
// Spec: GET /_matrix/federation/v1/query/{queryType}
func (a *API) queryOther(_ context.Context, _ *httpapi.Caller, q *otherQueryRequest) (*none, error) {
	return nil, matrix.E(matrix.CodeUnrecognized, "there are no queries of the kind %.100q", q.Type)
}
