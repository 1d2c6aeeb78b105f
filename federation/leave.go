package federation

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) leaveRoutes(r *httpapi.Router) {
	handshake := httpapi.PerServer("handshakes")
	r.Handle("GET", "/_matrix/federation/v1/make_leave/{roomID}/{userID}", httpapi.Signed(a.makeLeave), handshake)
	r.Handle("PUT", "/_matrix/federation/v1/send_leave/{roomID}/{eventID}", httpapi.Signed(a.sendLeaveV1), handshake)
	r.Handle("PUT", "/_matrix/federation/v2/send_leave/{roomID}/{eventID}", httpapi.Signed(a.sendLeave), handshake)
	r.Handle("GET", "/_matrix/federation/v1/make_knock/{roomID}/{userID}", httpapi.Signed(a.makeKnock), handshake)
	r.Handle("PUT", "/_matrix/federation/v1/send_knock/{roomID}/{eventID}", httpapi.Signed(a.sendKnock), handshake)
}

// makeLeave proposes the event by which a user of another server leaves, or refuses an invite.
//
// Spec: GET /_matrix/federation/v1/make_leave/{roomId}/{userId}
func (a *API) makeLeave(ctx context.Context, c *httpapi.Caller, q *makeRequest) (*makeResponse, error) {
	return a.template(ctx, c, q, matrix.Leave)
}

// sendLeave takes a leave into its room.
//
// Spec: PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}
func (a *API) sendLeave(ctx context.Context, c *httpapi.Caller, q *sendRequest) (*none, error) {
	ev, err := a.brought(ctx, c, q, matrix.Leave)
	if err != nil {
		return nil, err
	}
	if err := a.verified(ctx, ev); err != nil {
		return nil, err
	}
	return &none{}, a.take(ctx, ev)
}

// behindStatus is an answer of the first form of an endpoint: a list of the status and the body.
type behindStatus struct{ body any }

// MarshalJSON writes the list.
func (b *behindStatus) MarshalJSON() ([]byte, error) { return json.Marshal([]any{200, b.body}) }

// sendLeaveV1 is sendLeave in its first form.
//
// Spec: PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}
func (a *API) sendLeaveV1(ctx context.Context, c *httpapi.Caller, q *sendRequest) (*behindStatus, error) {
	answer, err := a.sendLeave(ctx, c, q)
	if err != nil {
		return nil, err
	}
	return &behindStatus{answer}, nil
}

// makeKnock proposes the event by which a user of another server asks to be invited.
//
// Spec: GET /_matrix/federation/v1/make_knock/{roomId}/{userId}
func (a *API) makeKnock(ctx context.Context, c *httpapi.Caller, q *makeRequest) (*makeResponse, error) {
	return a.template(ctx, c, q, matrix.Knock)
}

type knockResponse struct {
	State []json.RawMessage `json:"knock_room_state"`
}

// sendKnock takes a knock into its room and tells what the room is.
//
// Spec: PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}
func (a *API) sendKnock(ctx context.Context, c *httpapi.Caller, q *sendRequest) (*knockResponse, error) {
	ev, err := a.brought(ctx, c, q, matrix.Knock)
	if err != nil {
		return nil, err
	}
	if err := a.verified(ctx, ev); err != nil {
		return nil, err
	}
	if err := a.take(ctx, ev); err != nil {
		return nil, err
	}
	told, err := a.rooms.Presented(ctx, q.RoomID)
	if err != nil {
		return nil, fmt.Errorf("tell what a room is: %w", err)
	}
	return &knockResponse{State: told}, nil
}
