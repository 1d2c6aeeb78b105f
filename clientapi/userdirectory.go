package clientapi

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) userDirectoryRoutes(r *httpapi.Router) {
	v3(r, "POST", "/user_directory/search", httpapi.Authed(a.searchUsers), httpapi.Limit("search"))
}

// The bounds of an answer.
const (
	usersDefault = 10
	usersMost    = 100
)

type searchUsersRequest struct {
	Term  *string `json:"search_term"`
	Limit *int    `json:"limit"`
}

type searchUsersResponse struct {
	Results []foundUser `json:"results"`
	Limited bool        `json:"limited"`
}

type foundUser struct {
	UserID      matrix.UserID `json:"user_id"`
	DisplayName string        `json:"display_name,omitempty"`
	AvatarURL   string        `json:"avatar_url,omitempty"`
}

// searchUsers finds users by their names.
//
// Spec: POST /_matrix/client/v3/user_directory/search
func (a *API) searchUsers(ctx context.Context, c *httpapi.Caller, q *searchUsersRequest) (*searchUsersResponse, error) {
	if q.Term == nil {
		return nil, matrix.MissingParam("search_term is missing")
	}
	limit := usersDefault
	if q.Limit != nil {
		if *q.Limit < 0 {
			return nil, matrix.InvalidParam("limit cannot be less than 0")
		}
		limit = min(*q.Limit, usersMost)
	}
	people, limited, err := a.search.People(ctx, c.User, *q.Term, limit)
	if err != nil {
		return nil, err
	}
	out := &searchUsersResponse{Results: []foundUser{}, Limited: limited}
	for _, p := range people {
		out.Results = append(out.Results, foundUser{p.User, p.Profile.DisplayName, p.Profile.AvatarURL})
	}
	return out, nil
}
