package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/push"
)

func (a *API) adminUserViewRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	const user = synapseV1 + "users/{userID}/"
	r.Handle("GET", user+"memberships", httpapi.Authed(a.adminMemberships), admins)
	r.Handle("GET", user+"pushers", httpapi.Authed(a.adminPushers), admins)
	r.Handle("GET", user+"accountdata", httpapi.Authed(a.adminAccountData), admins)
	r.Handle("POST", user+"login", httpapi.Authed(a.adminLogin), admins)
}

type adminMembershipsResponse struct {
	Memberships map[matrix.RoomID]matrix.Membership `json:"memberships"`
}

// adminMemberships tells what a user is in each room that they have to do with.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/memberships
func (a *API) adminMemberships(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminMembershipsResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	all, err := a.rooms.Memberships(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &adminMembershipsResponse{all}, nil
}

type adminPushersResponse struct {
	Pushers []push.Pusher `json:"pushers"`
	Total   int           `json:"total"`
}

// adminPushers lists where a user's notifications are sent.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/pushers
func (a *API) adminPushers(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminPushersResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	list, err := a.push.PushersOf(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &adminPushersResponse{append([]push.Pusher{}, list...), len(list)}, nil
}

type adminAccountDataResponse struct {
	AccountData struct {
		Global map[string]json.RawMessage                   `json:"global"`
		Rooms  map[matrix.RoomID]map[string]json.RawMessage `json:"rooms"`
	} `json:"account_data"`
}

// adminAccountData shows a user's account data.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/accountdata
func (a *API) adminAccountData(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminAccountDataResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	all, err := a.accounts.AllData(ctx, q.User)
	if err != nil {
		return nil, err
	}
	answer := &adminAccountDataResponse{}
	answer.AccountData.Global, answer.AccountData.Rooms = map[string]json.RawMessage{}, map[matrix.RoomID]map[string]json.RawMessage{}
	for _, d := range all {
		if d.Room == "" {
			answer.AccountData.Global[d.Type] = d.Content
			continue
		}
		if answer.AccountData.Rooms[d.Room] == nil {
			answer.AccountData.Rooms[d.Room] = map[string]json.RawMessage{}
		}
		answer.AccountData.Rooms[d.Room][d.Type] = d.Content
	}
	return answer, nil
}

type adminLoginResponse struct {
	Token string `json:"access_token"`
}

// adminLogin makes a session of a user, whose device is named as the administrator's. The user sees it among their
// devices, and can end it.
//
// Extension: POST /_synapse/admin/v1/users/{userId}/login
func (a *API) adminLogin(ctx context.Context, c *httpapi.Caller, q *adminLoginRequest) (*adminLoginResponse, error) {
	if c.User == q.User {
		return nil, matrix.Forbidden("you are logged in already")
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	s, err := a.accounts.NewSession(ctx, q.User, account.NewDevice{Name: "administrator " + string(c.User)})
	if err != nil {
		return nil, err
	}
	return &adminLoginResponse{s.AccessToken}, nil
}

type adminLoginRequest struct {
	User matrix.UserID   `path:"userID"`
	Body json.RawMessage `body:"whole,optional"` // nothing in it is heeded: the session ends with its device
}
