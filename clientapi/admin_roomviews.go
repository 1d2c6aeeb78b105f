package clientapi

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) adminRoomViewRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	const room = synapseV1 + "rooms/{roomID}/"
	r.Handle("GET", room+"messages", httpapi.Authed(a.adminMessages), admins)
	r.Handle("GET", room+"context/{eventID}", httpapi.Authed(a.adminContext), admins)
	r.Handle("GET", room+"timestamp_to_event", httpapi.Authed(a.adminEventByTime), admins)
	r.Handle("GET", synapseV1+"fetch_event/{eventID}", httpapi.Authed(a.adminEvent), admins)
	r.Handle("GET", room+"block", httpapi.Authed(a.adminReadBlock), admins)
	r.Handle("PUT", room+"block", httpapi.Authed(a.adminBlock), admins)
	r.Handle("POST", room+"make_room_admin", httpapi.Authed(a.adminMakeRoomAdmin), admins)
}

// adminMessages reads a page of a room's history, whether the administrator is in it or not.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}/messages
func (a *API) adminMessages(ctx context.Context, c *httpapi.Caller, q *messagesRequest) (*messagesResponse, error) {
	if q.Dir == "" {
		q.Dir = "f"
	}
	return a.messages(ctx, overseer(c), q)
}

// adminContext shows an event and what is around it.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}/context/{eventId}
func (a *API) adminContext(ctx context.Context, c *httpapi.Caller, q *contextRequest) (*contextResponse, error) {
	return a.eventContext(ctx, overseer(c), q)
}

// adminEventByTime finds the event that is nearest to a time.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}/timestamp_to_event
func (a *API) adminEventByTime(ctx context.Context, c *httpapi.Caller, q *byTimeRequest) (*byTimeResponse, error) {
	if q.Dir == "" {
		q.Dir = "f"
	}
	return a.eventByTime(ctx, overseer(c), q)
}

type adminEventResponse struct {
	Event *roomserver.ClientEvent `json:"event"`
}

// adminEvent shows an event, in whatever room it is.
//
// Extension: GET /_synapse/admin/v1/fetch_event/{eventId}
func (a *API) adminEvent(ctx context.Context, c *httpapi.Caller, q *eventAnywhereRequest) (*adminEventResponse, error) {
	e, err := a.eventAnywhere(ctx, overseer(c), q)
	if err != nil {
		return nil, err
	}
	return &adminEventResponse{e}, nil
}

type adminBlockResponse struct {
	Block bool          `json:"block"`
	By    matrix.UserID `json:"user_id,omitempty"`
}

// adminReadBlock tells whether a room is blocked, and by whom.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}/block
func (a *API) adminReadBlock(ctx context.Context, _ *httpapi.Caller, q *adminRoomRequest) (*adminBlockResponse, error) {
	by, blocked, err := a.rooms.BlockedBy(ctx, q.RoomID)
	if err != nil {
		return nil, err
	}
	return &adminBlockResponse{blocked, by}, nil
}

type adminBlockRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	Block  *bool         `json:"block" required:"true"`
}

// adminBlock keeps the users of this server out of a room, or lets them in again.
//
// Extension: PUT /_synapse/admin/v1/rooms/{roomId}/block
func (a *API) adminBlock(ctx context.Context, c *httpapi.Caller, q *adminBlockRequest) (*adminBlockResponse, error) {
	if err := a.rooms.Block(ctx, q.RoomID, c.User, *q.Block); err != nil {
		return nil, err
	}
	return &adminBlockResponse{Block: *q.Block}, nil
}

type adminMakeRoomAdminRequest struct {
	Room string        `path:"roomID"`
	User matrix.UserID `json:"user_id"`
}

// adminMakeRoomAdmin gives a user, or the administrator, the power of the most powerful user that this server has in a
// room. Who is not in a room that is not open is invited.
//
// Extension: POST /_synapse/admin/v1/rooms/{roomId}/make_room_admin
func (a *API) adminMakeRoomAdmin(ctx context.Context, c *httpapi.Caller, q *adminMakeRoomAdminRequest) (*none, error) {
	if q.User == "" {
		q.User = c.User
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	id, err := a.roomNamed(ctx, q.Room)
	if err != nil {
		return nil, err
	}
	profiles, err := a.profiles(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return nil, a.rooms.Grant(ctx, id, q.User, profiles[q.User])
}
