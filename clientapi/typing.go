package clientapi

import (
	"context"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) typingRoutes(r *httpapi.Router) {
	v3(r, "PUT", "/rooms/{roomID}/typing/{userID}", httpapi.Authed(a.setTyping), httpapi.Limit("ephemeral"), httpapi.NotSuspended(), httpapi.GuestsToo())
}

type typingRequest struct {
	RoomID  matrix.RoomID `path:"roomID"`
	UserID  matrix.UserID `path:"userID"`
	Typing  *bool         `json:"typing"`
	Timeout int64         `json:"timeout"` // milliseconds
}

// setTyping says that the caller types in a room, or has stopped.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}
func (a *API) setTyping(ctx context.Context, c *httpapi.Caller, q *typingRequest) (*none, error) {
	if err := own(c, q.UserID); err != nil {
		return nil, err
	}
	if q.Typing == nil {
		return nil, matrix.MissingParam("typing is missing")
	}
	if c.Shadowed {
		return nil, nil
	}
	const most = int64(time.Hour / time.Millisecond) // of what fits; what is too long is cut below
	timeout := time.Duration(min(q.Timeout, most)) * time.Millisecond
	return nil, a.ephemeral.SetTyping(ctx, c.User, q.RoomID, *q.Typing, timeout)
}
