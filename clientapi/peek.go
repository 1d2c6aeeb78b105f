package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) peekRoutes(r *httpapi.Router) {
	v3(r, "GET", "/rooms/{roomID}/initialSync", httpapi.Authed(a.roomInitialSync), httpapi.GuestsToo())
	const v1 = "/_matrix/client/v1"
	r.Handle("GET", v1+"/rooms/{roomID}/timestamp_to_event", httpapi.Authed(a.eventByTime), httpapi.GuestsToo())
}

type byTimeRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	TS     *int64        `query:"ts"`
	Dir    string        `query:"dir"`
}

type byTimeResponse struct {
	EventID        matrix.EventID `json:"event_id"`
	OriginServerTS int64          `json:"origin_server_ts"`
}

// eventByTime finds the event that is nearest to a time.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
func (a *API) eventByTime(ctx context.Context, c *httpapi.Caller, q *byTimeRequest) (*byTimeResponse, error) {
	switch {
	case q.TS == nil:
		return nil, matrix.MissingParam("the parameter ts is missing")
	case q.Dir == "":
		return nil, matrix.MissingParam("the parameter dir is missing")
	case q.Dir != "b" && q.Dir != "f":
		return nil, matrix.InvalidParam("dir must be b or f")
	}
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	e, err := a.remote.EventByTime(ctx, v, q.RoomID, *q.TS, q.Dir == "b")
	if err != nil {
		return nil, err
	}
	return &byTimeResponse{EventID: e.ID(), OriginServerTS: e.OriginServerTS()}, nil
}

type initialSyncRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	Limit  *int          `query:"limit"`
}

type initialSyncResponse struct {
	RoomID      matrix.RoomID             `json:"room_id"`
	Membership  matrix.Membership         `json:"membership,omitempty"`
	Messages    initialMessages           `json:"messages"`
	State       []*roomserver.ClientEvent `json:"state"`
	Visibility  string                    `json:"visibility"`
	AccountData []roomDatum               `json:"account_data"`
}

type initialMessages struct {
	Start string                    `json:"start,omitempty"`
	End   string                    `json:"end"`
	Chunk []*roomserver.ClientEvent `json:"chunk"`
}

type roomDatum struct {
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// roomInitialSync shows a room to somebody who peeks into it.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/initialSync
func (a *API) roomInitialSync(ctx context.Context, c *httpapi.Caller, q *initialSyncRequest) (*initialSyncResponse, error) {
	limit, err := positiveLimit(q.Limit)
	if err != nil {
		return nil, err
	}
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	state, err := a.rooms.CurrentState(ctx, v, q.RoomID)
	if err != nil {
		return nil, err
	}
	page, err := a.rooms.Messages(ctx, v, roomserver.Page{Room: q.RoomID, Backward: true, Limit: limit, Position: a.position})
	if err != nil {
		return nil, err
	}
	slices.Reverse(page.Events)
	out := &initialSyncResponse{
		RoomID: q.RoomID, State: orEmpty(state), Visibility: "private", AccountData: []roomDatum{},
		Messages: initialMessages{Start: page.End, End: page.Start, Chunk: orEmpty(page.Events)},
	}
	public, err := a.rooms.Published(ctx, q.RoomID)
	if err != nil {
		return nil, err
	}
	if public {
		out.Visibility = "public"
	}
	data, err := a.accounts.RoomData(ctx, c.User, q.RoomID)
	if err != nil {
		return nil, err
	}
	for _, d := range data {
		out.AccountData = append(out.AccountData, roomDatum{d.Type, d.Content})
	}
	out.Membership, err = a.membershipIn(ctx, c.User, q.RoomID)
	return out, err
}

// membershipIn is a user's membership in a room that they may read, empty where they never had one.
func (a *API) membershipIn(ctx context.Context, user matrix.UserID, room matrix.RoomID) (matrix.Membership, error) {
	e, err := a.rooms.CurrentStateEvent(ctx, roomserver.Viewer{User: user}, room, "m.room.member", string(user))
	var none *matrix.Error
	if errors.As(err, &none) && none.Code == matrix.CodeNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return e.Event.Membership(), nil
}
