package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/policy"
)

func (a *API) reportRoutes(r *httpapi.Router) {
	v3(r, "POST", "/rooms/{roomID}/report", httpapi.Authed(a.reportRoom), httpapi.Limit("report"))
	v3(r, "POST", "/rooms/{roomID}/report/{eventID}", httpapi.Authed(a.reportEvent), httpapi.Limit("report"))
	v3(r, "POST", "/users/{userID}/report", httpapi.Authed(a.reportUser), httpapi.Limit("report"))
}

type reportRoomRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	Reason string        `json:"reason" required:"true"`
}

// reportRoom tells the administrators of a room.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/report
func (a *API) reportRoom(ctx context.Context, c *httpapi.Caller, q *reportRoomRequest) (*nothing, error) {
	return nil, a.policy.Report(ctx, policy.Report{Reporter: c.User, Room: q.RoomID, Reason: q.Reason})
}

type reportEventRequest struct {
	RoomID  matrix.RoomID   `path:"roomID"`
	EventID matrix.EventID  `path:"eventID"`
	Reason  string          `json:"reason"`
	Score   json.RawMessage `json:"score"` // of older versions; not looked at
}

// reportEvent tells the administrators of an event.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}
func (a *API) reportEvent(ctx context.Context, c *httpapi.Caller, q *reportEventRequest) (*nothing, error) {
	return nil, a.policy.Report(ctx, policy.Report{Reporter: c.User, Room: q.RoomID, Event: q.EventID, Reason: q.Reason})
}

type reportUserRequest struct {
	UserID matrix.UserID `path:"userID"`
	Reason string        `json:"reason" required:"true"`
}

// reportUser tells the administrators of a user.
//
// Spec: POST /_matrix/client/v3/users/{userId}/report
func (a *API) reportUser(ctx context.Context, c *httpapi.Caller, q *reportUserRequest) (*nothing, error) {
	return nil, a.policy.Report(ctx, policy.Report{Reporter: c.User, User: q.UserID, Reason: q.Reason})
}
