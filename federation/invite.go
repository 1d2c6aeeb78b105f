package federation

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

func (a *API) inviteRoutes(r *httpapi.Router) {
	r.Handle("PUT", "/_matrix/federation/v1/invite/{roomID}/{eventID}", httpapi.Signed(a.inviteV1), httpapi.PerServer("handshakes"))
	r.Handle("PUT", "/_matrix/federation/v2/invite/{roomID}/{eventID}", httpapi.Signed(a.invite), httpapi.PerServer("handshakes"))
}

type inviteRequest struct {
	RoomID  matrix.RoomID      `path:"roomID"`
	EventID matrix.EventID     `path:"eventID"`
	Version matrix.RoomVersion `json:"room_version" required:"true"`
	Event   json.RawMessage    `json:"event" required:"true"`
	State   []json.RawMessage  `json:"invite_room_state"`
}

type inviteResponse struct {
	Event json.RawMessage `json:"event"`
}

// invite takes an invite for a user of ours: signs it, and shows it to the user.
//
// Spec: PUT /_matrix/federation/v2/invite/{roomId}/{eventId}
func (a *API) invite(ctx context.Context, c *httpapi.Caller, q *inviteRequest) (*inviteResponse, error) {
	v, ok := rules.ByID(q.Version)
	if !ok {
		return nil, matrix.E(matrix.CodeIncompatibleRoomVersion, "this server does not support room version %.40q", q.Version).
			With("room_version", q.Version)
	}
	ev, err := readMember(v, q.Event, q.RoomID, q.EventID, matrix.Invite)
	if err != nil {
		return nil, err
	}
	key, _ := ev.StateKey()
	target := matrix.UserID(key)
	switch {
	case ev.Sender().Server() != c.Origin:
		return nil, matrix.InvalidParam("the sender %s is not a user of %s", ev.Sender(), c.Origin)
	case target.Server() != a.server:
		return nil, matrix.InvalidParam("%s is not a user of this server", target)
	}
	if err := a.rooms.Admits(ctx, q.RoomID, c.Origin); err != nil {
		return nil, err
	}
	if err := a.verified(ctx, ev); err != nil {
		return nil, err
	}
	if err := a.checkPresented(ctx, v, q); err != nil {
		return nil, err
	}
	if err := a.mayBeInvited(ctx, ev.Sender(), target); err != nil {
		return nil, err
	}
	told, err := roomserver.StripForeign(q.State, ev)
	if err != nil {
		return nil, err
	}
	signed := a.rooms.Sign(ev)
	err = a.rooms.KeepOutside(ctx, roomserver.Outside{
		Room: q.RoomID, Version: v.ID, User: target, Membership: matrix.Invite, Sender: ev.Sender(), Via: c.Origin, Stripped: told,
		Event: ev.ID(), Time: ev.OriginServerTS(),
		Also: func(tx *store.Tx, at roomserver.Passed) error { return a.push.Invited(tx, at, ev, told) },
	})
	if err != nil {
		return nil, err
	}
	return &inviteResponse{Event: signed.Bytes()}, nil
}

// mayBeInvited refuses invites of users that are not here, or that do not want them.
func (a *API) mayBeInvited(ctx context.Context, inviter, target matrix.UserID) error {
	user, found, err := a.accounts.User(ctx, target)
	if err == nil && !found && a.services.AskUser(ctx, target) {
		user, found, err = a.accounts.User(ctx, target)
	}
	if err != nil {
		return err
	}
	if !found || user.Deactivated != 0 {
		return matrix.NotFound("there is no user %s", target)
	}
	return a.accounts.MayInvite(ctx, inviter, target)
}

// checkPresented holds the state that comes with an invite against the room, where the room's version lets it be
// checked: from version 12 the id of a room is the hash of its create event, so a server that does not know
// the room can still tell who made it.
//
// Spec: PUT /_matrix/federation/v2/invite/{roomId}/{eventId}, invite_room_state
func (a *API) checkPresented(ctx context.Context, v *rules.Version, q *inviteRequest) error {
	if !v.RoomIDIsHash {
		return nil
	}
	created := false
	var events []*rules.Event
	for _, raw := range q.State {
		ev, err := rules.Read(v, raw)
		if err != nil {
			return matrix.InvalidParam("invite_room_state has what is no event of room version %s", v.ID)
		}
		if ev.RoomID() != q.RoomID {
			return matrix.InvalidParam("invite_room_state has an event of another room")
		}
		created = created || ev.IsState("m.room.create", "")
		events = append(events, ev)
	}
	if !created {
		return matrix.E(matrix.CodeMissingParam, "invite_room_state has no create event")
	}
	for _, v := range a.keys.VerifyEvents(ctx, events) {
		if v.Err != nil {
			return matrix.InvalidParam("invite_room_state has an event that is not acceptable: %v", v.Err)
		}
	}
	return nil
}

type inviteV1Request struct {
	RoomID  matrix.RoomID   `path:"roomID"`
	EventID matrix.EventID  `path:"eventID"`
	Event   json.RawMessage `body:"whole"`
}

// inviteV1 is invite in its first form, for rooms of the first two versions, with the state in unsigned.
//
// Spec: PUT /_matrix/federation/v1/invite/{roomId}/{eventId}
func (a *API) inviteV1(ctx context.Context, c *httpapi.Caller, q *inviteV1Request) (*behindStatus, error) {
	var event struct {
		Unsigned struct {
			State []json.RawMessage `json:"invite_room_state"`
		} `json:"unsigned"`
	}
	if err := json.Unmarshal(q.Event, &event); err != nil {
		return nil, matrix.BadJSON("the event's unsigned has a wrong type")
	}
	answer, err := a.invite(ctx, c, &inviteRequest{
		RoomID: q.RoomID, EventID: q.EventID, Version: "1", Event: q.Event, State: event.Unsigned.State,
	})
	if err != nil {
		return nil, err
	}
	return &behindStatus{answer}, nil
}
