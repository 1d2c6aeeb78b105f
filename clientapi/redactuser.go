package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) redactUserRoutes(r *httpapi.Router) {
	r.Handle("POST", "/_matrix/client/unstable/org.matrix.msc4194/rooms/{roomID}/redact/user/{userID}", httpapi.Authed(a.redactUser))
}

// The bounds of how many events of a user are redacted at once.
const (
	redactUserDefault = 25
	redactUserMost    = 100
)

type redactUserRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	UserID matrix.UserID `path:"userID"`
	Limit  *int          `query:"limit"`
	Reason string        `json:"reason"`
}

type redactUserResponse struct {
	More     bool         `json:"is_more_events"`
	Redacted redactedUser `json:"redacted_events"`
}

type redactedUser struct {
	Total      int `json:"total"`
	SoftFailed int `json:"soft_failed"`
}

// redactUser redacts what a user has sent to a room, the newest first. Each event counts for the limits: those of
// others for one of its own.
//
// Extension: POST /_matrix/client/unstable/org.matrix.msc4194/rooms/{roomId}/redact/user/{userId}
func (a *API) redactUser(ctx context.Context, c *httpapi.Caller, q *redactUserRequest) (*redactUserResponse, error) {
	limit := redactUserDefault
	if q.Limit != nil {
		if limit = min(*q.Limit, redactUserMost); limit < 1 {
			return nil, matrix.InvalidParam("limit must be positive")
		}
	}
	content := map[string]string{}
	if q.Reason != "" {
		content["reason"] = q.Reason
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	wish := roomserver.UserRedaction{
		Room: q.RoomID, By: c.User, Sender: q.UserID, Limit: limit, Content: raw, Suspended: c.Suspended, Shadowed: c.Shadowed, Position: a.position,
	}
	class := "redact"
	if q.UserID == c.User {
		class = "message"
	}
	wish.May = func() error { return a.limiter.Caller(class, c) }
	done, err := a.rooms.RedactUser(ctx, wish)
	if err != nil {
		return nil, err
	}
	return &redactUserResponse{More: done.More, Redacted: redactedUser{Total: done.Total, SoftFailed: done.SoftFailed}}, nil
}
