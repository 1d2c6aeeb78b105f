package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) notificationRoutes(r *httpapi.Router) {
	v3(r, "GET", "/notifications", httpapi.Authed(a.notifications), httpapi.Limit("search"))
}

type notificationsRequest struct {
	From  string `query:"from"`
	Limit *int   `query:"limit"`
	Only  string `query:"only"`
}

type notificationsResponse struct {
	Next          string             `json:"next_token,omitempty"`
	Notifications []notificationItem `json:"notifications"`
}

type notificationItem struct {
	Actions []json.RawMessage `json:"actions"`
	Event   json.RawMessage   `json:"event"`
	Read    bool              `json:"read"`
	RoomID  matrix.RoomID     `json:"room_id"`
	TS      int64             `json:"ts"`
}

// notifications lists the events that the caller has been notified about.
//
// Spec: GET /_matrix/client/v3/notifications
func (a *API) notifications(ctx context.Context, c *httpapi.Caller, q *notificationsRequest) (*notificationsResponse, error) {
	limit := 20
	if q.Limit != nil {
		if limit = *q.Limit; limit < 1 {
			return nil, matrix.InvalidParam("limit must be a positive number")
		}
	}
	list, next, err := a.push.Notifications(ctx, roomserver.Viewer{User: c.User, Device: c.Device}, q.From, limit, q.Only == "highlight")
	if err != nil {
		return nil, err
	}
	out := &notificationsResponse{Next: next, Notifications: make([]notificationItem, len(list))}
	for i, n := range list {
		out.Notifications[i] = notificationItem{
			Actions: n.Actions, Event: n.Event.AppendJSON(nil, roomserver.WithoutRoomID), Read: n.Read,
			RoomID: n.Event.RoomID(), TS: n.Event.OriginServerTS(),
		}
	}
	return out, nil
}
