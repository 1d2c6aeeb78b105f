package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/push"
)

func (a *API) pusherRoutes(r *httpapi.Router) {
	v3(r, "GET", "/pushers", httpapi.Authed(a.pushers))
	v3(r, "POST", "/pushers/set", httpapi.Authed(a.setPusher), httpapi.Limit("ephemeral"))
}

type pushersResponse struct {
	Pushers []push.Pusher `json:"pushers"`
}

// pushers lists where the caller's notifications are sent.
//
// Spec: GET /_matrix/client/v3/pushers
func (a *API) pushers(ctx context.Context, c *httpapi.Caller, _ *none) (*pushersResponse, error) {
	list, err := a.push.PushersOf(ctx, c.User)
	return &pushersResponse{Pushers: append([]push.Pusher{}, list...)}, err
}

type setPusherRequest struct {
	AppID      string          `json:"app_id"`
	Pushkey    string          `json:"pushkey"`
	Kind       json.RawMessage `json:"kind"` // a string, or null to delete
	AppName    *string         `json:"app_display_name"`
	DeviceName *string         `json:"device_display_name"`
	ProfileTag string          `json:"profile_tag"`
	Lang       *string         `json:"lang"`
	Data       json.RawMessage `json:"data"`
	Append     bool            `json:"append"`
}

// setPusher makes, changes or deletes a pusher of the caller.
//
// Spec: POST /_matrix/client/v3/pushers/set
func (a *API) setPusher(ctx context.Context, c *httpapi.Caller, q *setPusherRequest) (*none, error) {
	switch {
	case q.AppID == "" || q.Pushkey == "" || q.Kind == nil:
		return nil, matrix.MissingParam("a pusher needs kind, app_id and pushkey")
	case string(q.Kind) == "null":
		return nil, a.push.DeletePusher(ctx, c.User, q.AppID, q.Pushkey)
	case q.AppName == nil || q.DeviceName == nil || q.Lang == nil || q.Data == nil:
		return nil, matrix.MissingParam("a pusher needs app_display_name, device_display_name, lang and data")
	}
	pusher := push.Pusher{
		AppID: q.AppID, Pushkey: q.Pushkey, AppName: *q.AppName, DeviceName: *q.DeviceName, ProfileTag: q.ProfileTag,
		Lang: *q.Lang, Data: q.Data, User: c.User, Device: c.Device,
	}
	if json.Unmarshal(q.Kind, &pusher.Kind) != nil {
		return nil, matrix.BadJSON("the kind of a pusher is a string or null")
	}
	return nil, a.push.SetPusher(ctx, pusher, q.Append)
}
