package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) profileRoutes(r *httpapi.Router) {
	for _, base := range []string{"/_matrix/client/v3", "/_matrix/client/r0", "/_matrix/client/unstable/uk.tcpip.msc4133"} {
		r.Handle("GET", base+"/profile/{userID}", httpapi.Open(a.profile))
		r.Handle("GET", base+"/profile/{userID}/{field}", httpapi.Open(a.profileField))
		r.Handle("PUT", base+"/profile/{userID}/{field}", httpapi.Authed(a.setProfileField),
			httpapi.Limit("profile"), httpapi.NotSuspended(), httpapi.GuestsToo())
		r.Handle("DELETE", base+"/profile/{userID}/{field}", httpapi.Authed(a.deleteProfileField),
			httpapi.Limit("profile"), httpapi.NotSuspended(), httpapi.GuestsToo())
	}
}

type profileRequest struct {
	UserID matrix.UserID `path:"userID"`
}

// profile tells all fields of a user's profile.
//
// Spec: GET /_matrix/client/v3/profile/{userId}
func (a *API) profile(ctx context.Context, _ *httpapi.Caller, q *profileRequest) (*account.Fields, error) {
	fields, err := a.profileOf(ctx, q.UserID, "")
	if err != nil {
		return nil, err
	}
	return &fields, nil
}

// profileOf reads a profile here or at the user's server, which may give more than the one field that is wanted.
func (a *API) profileOf(ctx context.Context, user matrix.UserID, field string) (account.Fields, error) {
	if user.Server() != a.server {
		return a.remote.Profile(ctx, user, field)
	}
	return a.services.Profile(ctx, user)
}

type profileFieldRequest struct {
	UserID matrix.UserID `path:"userID"`
	Field  string        `path:"field"`
}

// profileField tells one field of a user's profile.
//
// Spec: GET /_matrix/client/v3/profile/{userId}/{keyName}
func (a *API) profileField(ctx context.Context, _ *httpapi.Caller, q *profileFieldRequest) (*account.Fields, error) {
	if err := account.CheckProfileField(q.Field); err != nil {
		return nil, err
	}
	fields, err := a.profileOf(ctx, q.UserID, q.Field)
	if err != nil {
		return nil, err
	}
	value, found := fields[q.Field]
	if !found {
		return nil, matrix.NotFound("%s has no profile field %s", q.UserID, q.Field)
	}
	return &account.Fields{q.Field: value}, nil
}

type setProfileFieldRequest struct {
	UserID matrix.UserID   `path:"userID"`
	Field  string          `path:"field"`
	Body   json.RawMessage `body:"whole"`
}

// setProfileField sets a field of the caller's profile.
//
// Spec: PUT /_matrix/client/v3/profile/{userId}/{keyName}
func (a *API) setProfileField(ctx context.Context, c *httpapi.Caller, q *setProfileFieldRequest) (*none, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	if err := account.CheckProfileField(q.Field); err != nil {
		return nil, err
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(q.Body, &body); err != nil {
		return nil, matrix.BadJSON("the body must be an object")
	}
	value, found := body[q.Field]
	if !found {
		return nil, matrix.MissingParam("the body has no member %s", q.Field)
	}
	return nil, a.accounts.SetProfileField(ctx, c.User, q.Field, value)
}

// deleteProfileField removes a field of the caller's profile.
//
// Spec: DELETE /_matrix/client/v3/profile/{userId}/{keyName}
func (a *API) deleteProfileField(ctx context.Context, c *httpapi.Caller, q *profileFieldRequest) (*none, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	return nil, a.accounts.DeleteProfileField(ctx, c.User, q.Field)
}
