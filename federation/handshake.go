package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// A handshake changes the membership of another server's user in a room of ours: first their server is given
// a template, then it brings its own, signed event. What is checked at the first step is checked again at the
// second.

// makeRequest asks for a template.
type makeRequest struct {
	RoomID   matrix.RoomID `path:"roomID"`
	UserID   matrix.UserID `path:"userID"`
	Versions []string      `query:"ver"`
}

type makeResponse struct {
	Version matrix.RoomVersion `json:"room_version"`
	Event   json.RawMessage    `json:"event"`
}

// template answers the first step of a handshake.
func (a *API) template(ctx context.Context, c *httpapi.Caller, q *makeRequest, m matrix.Membership) (*makeResponse, error) {
	if q.UserID.Server() != c.Origin {
		return nil, matrix.Forbidden("%s is not a user of %s", q.UserID, c.Origin)
	}
	v, err := a.hosted(ctx, c, q.RoomID)
	if err != nil {
		return nil, err
	}
	if len(q.Versions) == 0 {
		q.Versions = []string{"1"}
	}
	if m != matrix.Leave && !slices.Contains(q.Versions, string(v.ID)) {
		return nil, matrix.E(matrix.CodeIncompatibleRoomVersion, "the room has version %s, which your server does not support", v.ID).
			With("room_version", v.ID)
	}
	v, event, err := a.rooms.Template(ctx, roomserver.Change{Room: q.RoomID, Sender: q.UserID, Target: q.UserID, Membership: m})
	if err != nil {
		return nil, err
	}
	return &makeResponse{Version: v.ID, Event: event}, nil
}

// hosted finds the version of a room that this server is in and from which the caller is not kept out.
func (a *API) hosted(ctx context.Context, c *httpapi.Caller, room matrix.RoomID) (*rules.Version, error) {
	in, err := a.rooms.Resident(ctx, room)
	if err != nil {
		return nil, err
	}
	if !in {
		return nil, matrix.NotFound("this server is not in the room %s", room)
	}
	if err := a.rooms.Admits(ctx, room, c.Origin); err != nil {
		return nil, err
	}
	v, _, err := a.rooms.Version(ctx, room)
	return v, err
}

// sendRequest brings the event of the second step.
type sendRequest struct {
	RoomID  matrix.RoomID   `path:"roomID"`
	EventID matrix.EventID  `path:"eventID"`
	Event   json.RawMessage `body:"whole"`
}

// brought reads the event that a server brings for one of its users.
//
// Spec: SS "Joining Rooms", PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}
func (a *API) brought(ctx context.Context, c *httpapi.Caller, q *sendRequest, m matrix.Membership) (*rules.Event, error) {
	v, err := a.hosted(ctx, c, q.RoomID)
	if err != nil {
		return nil, err
	}
	ev, err := readMember(v, q.Event, q.RoomID, q.EventID, m)
	if err != nil {
		return nil, err
	}
	switch key, _ := ev.StateKey(); {
	case ev.Sender().Server() != c.Origin:
		return nil, matrix.InvalidParam("the sender %s is not a user of %s", ev.Sender(), c.Origin)
	case key != string(ev.Sender()):
		return nil, matrix.InvalidParam("the event is not about its sender")
	}
	return ev, nil
}

// readMember reads a member event that another server brings.
func readMember(v *rules.Version, raw json.RawMessage, room matrix.RoomID, id matrix.EventID, m matrix.Membership) (*rules.Event, error) {
	ev, err := rules.Read(v, raw)
	var malformed *rules.Malformed
	if errors.As(err, &malformed) {
		return nil, matrix.BadJSON("%s", malformed.Error())
	}
	if err != nil {
		return nil, fmt.Errorf("read a member event: %w", err)
	}
	_, isState := ev.StateKey()
	switch {
	case ev.RoomID() != room:
		return nil, matrix.InvalidParam("the event is for the room %s, not for that of the path", ev.RoomID())
	case ev.ID() != id:
		return nil, matrix.InvalidParam("the event's id is %s, not that of the path", ev.ID())
	case ev.Type() != "m.room.member" || !isState || ev.Membership() != m:
		return nil, matrix.InvalidParam("the event is not a member event with membership %s", m)
	}
	return ev, nil
}

// verified refuses an event whose hash or signatures are wrong. In a handshake the redacted form is of no use.
func (a *API) verified(ctx context.Context, ev *rules.Event) error {
	v := a.keys.VerifyEvents(ctx, []*rules.Event{ev})[0]
	switch {
	case v.Err != nil:
		return matrix.InvalidParam("the event is not acceptable: %v", v.Err)
	case v.Event != ev:
		return matrix.InvalidParam("the content hash of the event is wrong")
	}
	return nil
}

// take receives the event of a handshake into its room, from where this server brings it to the others.
func (a *API) take(ctx context.Context, ev *rules.Event) error {
	status, err := a.rooms.ReceiveRelayed(ctx, ev)
	var gap *roomserver.Gap
	if errors.As(err, &gap) {
		return matrix.InvalidParam("the event refers to others that this server cannot get")
	}
	if err != nil {
		return err
	}
	if status != roomserver.Accepted {
		return matrix.Forbidden("the rules of the room do not allow it")
	}
	return nil
}
