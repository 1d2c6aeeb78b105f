package clientapi

import (
	"context"

	"astrocyte/ephemeral"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) presenceRoutes(r *httpapi.Router) {
	v3(r, "PUT", "/presence/{userID}/status", httpapi.Authed(a.setPresence), httpapi.Limit("ephemeral"))
	v3(r, "GET", "/presence/{userID}/status", httpapi.Authed(a.presence))
}

type setPresenceRequest struct {
	UserID   matrix.UserID   `path:"userID"`
	Presence ephemeral.State `json:"presence" required:"true"`
	Status   string          `json:"status_msg"`
}

// setPresence says how the caller is.
//
// Spec: PUT /_matrix/client/v3/presence/{userId}/status
func (a *API) setPresence(ctx context.Context, c *httpapi.Caller, q *setPresenceRequest) (*none, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	return nil, a.ephemeral.SetPresence(ctx, c.User, c.Device, q.Presence, q.Status)
}

type presenceRequest struct {
	UserID matrix.UserID `path:"userID"`
}

type presenceResponse struct {
	Presence        ephemeral.State `json:"presence"`
	LastActiveAgo   *int64          `json:"last_active_ago,omitempty"`
	StatusMsg       string          `json:"status_msg,omitempty"`
	CurrentlyActive bool            `json:"currently_active,omitempty"`
}

// presence tells how a user is.
//
// Spec: GET /_matrix/client/v3/presence/{userId}/status
func (a *API) presence(ctx context.Context, c *httpapi.Caller, q *presenceRequest) (*presenceResponse, error) {
	p, err := a.ephemeral.PresenceOf(ctx, c.User, q.UserID)
	if err != nil {
		return nil, err
	}
	out := &presenceResponse{Presence: p.State, StatusMsg: p.Status, CurrentlyActive: p.Active}
	if p.Known {
		ago := p.Ago.Milliseconds()
		out.LastActiveAgo = &ago
	}
	return out, nil
}
