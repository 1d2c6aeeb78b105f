package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) filterRoutes(r *httpapi.Router) {
	v3(r, "POST", "/user/{userID}/filter", httpapi.Authed(a.saveFilter), httpapi.Limit("ephemeral"), httpapi.GuestsToo())
	v3(r, "GET", "/user/{userID}/filter/{filterID}", httpapi.Authed(a.filter), httpapi.GuestsToo())
}

type saveFilterRequest struct {
	UserID matrix.UserID   `path:"userID"`
	Filter json.RawMessage `body:"whole"`
}

type saveFilterResponse struct {
	FilterID string `json:"filter_id"`
}

// saveFilter keeps a filter for the caller.
//
// Spec: POST /_matrix/client/v3/user/{userId}/filter
func (a *API) saveFilter(ctx context.Context, c *httpapi.Caller, q *saveFilterRequest) (*saveFilterResponse, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	id, err := a.accounts.SaveFilter(ctx, c.User, q.Filter)
	if err != nil {
		return nil, err
	}
	return &saveFilterResponse{FilterID: id}, nil
}

type filterRequest struct {
	UserID   matrix.UserID `path:"userID"`
	FilterID string        `path:"filterID"`
}

// filter tells a filter that the caller has saved.
//
// Spec: GET /_matrix/client/v3/user/{userId}/filter/{filterId}
func (a *API) filter(ctx context.Context, c *httpapi.Caller, q *filterRequest) (*json.RawMessage, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	content, err := a.accounts.Filter(ctx, c.User, q.FilterID)
	if err != nil {
		return nil, err
	}
	return &content, nil
}
