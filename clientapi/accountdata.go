package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) accountDataRoutes(r *httpapi.Router) {
	limit := httpapi.Limit("ephemeral")
	for _, of := range []string{"/user/{userID}", "/user/{userID}/rooms/{roomID}"} {
		v3(r, "GET", of+"/account_data/{type}", httpapi.Authed(a.accountData), httpapi.GuestsToo())
		v3(r, "PUT", of+"/account_data/{type}", httpapi.Authed(a.setAccountData), limit, httpapi.GuestsToo())
	}
	const unstable = "/_matrix/client/unstable/org.matrix.msc3391/user/{userID}"
	for _, of := range []string{unstable, unstable + "/rooms/{roomID}"} {
		r.Handle("DELETE", of+"/account_data/{type}", httpapi.Authed(a.deleteAccountData), limit)
	}
	v3(r, "GET", "/user/{userID}/rooms/{roomID}/tags", httpapi.Authed(a.tags))
	v3(r, "PUT", "/user/{userID}/rooms/{roomID}/tags/{tag}", httpapi.Authed(a.setTag), limit)
	v3(r, "DELETE", "/user/{userID}/rooms/{roomID}/tags/{tag}", httpapi.Authed(a.deleteTag), limit)
}

type accountDataRequest struct {
	UserID matrix.UserID `path:"userID"`
	RoomID matrix.RoomID `path:"roomID"`
	Type   string        `path:"type"`
}

// accountData tells a piece of the caller's account data.
//
// Spec: GET /_matrix/client/v3/user/{userId}/account_data/{type}
// Spec: GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}
func (a *API) accountData(ctx context.Context, c *httpapi.Caller, q *accountDataRequest) (*json.RawMessage, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	if q.RoomID == "" && q.Type == "m.push_rules" {
		rules, err := a.push.Rules(ctx, c.User)
		if err != nil {
			return nil, err
		}
		content, err := json.Marshal(pushRulesResponse{Global: rules})
		return (*json.RawMessage)(&content), err
	}
	content, found, err := a.accounts.AccountData(ctx, c.User, q.RoomID, q.Type)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, matrix.NotFound("there is no account data of type %s", q.Type)
	}
	return &content, nil
}

type setAccountDataRequest struct {
	accountDataRequest
	Content json.RawMessage `body:"whole"`
}

// setAccountData sets a piece of the caller's account data. The types that the server writes itself
// have endpoints of their own.
//
// Spec: PUT /_matrix/client/v3/user/{userId}/account_data/{type}
// Spec: PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}
func (a *API) setAccountData(ctx context.Context, c *httpapi.Caller, q *setAccountDataRequest) (*none, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	if q.Type == "m.fully_read" || q.Type == "m.push_rules" {
		return nil, matrix.BadJSON("%s cannot be set in this way", q.Type).WithStatus(http.StatusMethodNotAllowed)
	}
	return nil, a.accounts.SetAccountData(ctx, c.User, q.RoomID, q.Type, q.Content)
}

// deleteAccountData deletes a piece of the caller's account data. Devices that sync are told an empty one.
//
// Extension: DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}
// Extension: DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}
func (a *API) deleteAccountData(ctx context.Context, c *httpapi.Caller, q *accountDataRequest) (*none, error) {
	return a.setAccountData(ctx, c, &setAccountDataRequest{accountDataRequest: *q, Content: json.RawMessage("{}")})
}

type tagsRequest struct {
	UserID matrix.UserID `path:"userID"`
	RoomID matrix.RoomID `path:"roomID"`
}

type tagsResponse struct {
	Tags map[string]json.RawMessage `json:"tags"`
}

// tags lists the caller's tags of a room.
//
// Spec: GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags
func (a *API) tags(ctx context.Context, c *httpapi.Caller, q *tagsRequest) (*tagsResponse, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	tags, err := a.accounts.Tags(ctx, c.User, q.RoomID)
	if err != nil {
		return nil, err
	}
	return &tagsResponse{Tags: tags}, nil
}

type tagRequest struct {
	tagsRequest
	Tag string `path:"tag"`
}

type setTagRequest struct {
	tagRequest
	Content json.RawMessage `body:"whole"`
}

// setTag puts a tag on a room.
//
// Spec: PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}
func (a *API) setTag(ctx context.Context, c *httpapi.Caller, q *setTagRequest) (*none, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	return nil, a.accounts.SetTag(ctx, c.User, q.RoomID, q.Tag, q.Content)
}

// deleteTag takes a tag off a room.
//
// Spec: DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}
func (a *API) deleteTag(ctx context.Context, c *httpapi.Caller, q *tagRequest) (*none, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	return nil, a.accounts.DeleteTag(ctx, c.User, q.RoomID, q.Tag)
}
