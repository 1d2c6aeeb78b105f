package clientapi

import (
	"context"
	"encoding/json"
	"strings"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) membershipRoutes(r *httpapi.Router) {
	const room = "/rooms/{roomID}/"
	join := httpapi.Limit("join")
	v3(r, "POST", room+"join", httpapi.Authed(a.joinRoom), join, httpapi.NotSuspended(), httpapi.GuestsToo())
	v3(r, "POST", "/join/{roomIDOrAlias}", httpapi.Authed(a.joinByName), join, httpapi.NotSuspended(), httpapi.GuestsToo())
	v3(r, "POST", "/knock/{roomIDOrAlias}", httpapi.Authed(a.knock), join, httpapi.NotSuspended())
	v3(r, "POST", room+"invite", httpapi.Authed(a.invite), httpapi.Limit("invite"), httpapi.NotSuspended())
	v3(r, "POST", room+"leave", httpapi.Authed(a.leave), httpapi.GuestsToo())
	v3(r, "POST", room+"kick", httpapi.Authed(a.kick), httpapi.NotSuspended())
	v3(r, "POST", room+"ban", httpapi.Authed(a.ban), httpapi.NotSuspended())
	v3(r, "POST", room+"unban", httpapi.Authed(a.unban), httpapi.NotSuspended())
	v3(r, "POST", room+"forget", httpapi.Authed(a.forget), httpapi.GuestsToo())
}

type roomResponse struct {
	RoomID matrix.RoomID `json:"room_id"`
}

// nothing is the answer of those who have nothing to tell.
type nothing struct{}

type joinRoomRequest struct {
	RoomID matrix.RoomID   `path:"roomID"`
	Body   json.RawMessage `body:"whole,optional"`
}

// joinRoom joins the caller into a room by its id.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/join
func (a *API) joinRoom(ctx context.Context, c *httpapi.Caller, q *joinRoomRequest) (*roomResponse, error) {
	return a.enter(ctx, c, q.RoomID, matrix.Join, q.Body)
}

type joinByNameRequest struct {
	Room   string   `path:"roomIDOrAlias"`
	Via    []string `query:"via"`
	Server []string `query:"server_name"`

	Body json.RawMessage `body:"whole,optional"`
}

// joinByName joins the caller into a room by its id or alias.
//
// Spec: POST /_matrix/client/v3/join/{roomIdOrAlias}
func (a *API) joinByName(ctx context.Context, c *httpapi.Caller, q *joinByNameRequest) (*roomResponse, error) {
	id, err := a.roomNamed(ctx, q.Room)
	if err != nil {
		return nil, err
	}
	return a.enter(ctx, c, id, matrix.Join, q.Body)
}

// knock asks for an invite.
//
// Spec: POST /_matrix/client/v3/knock/{roomIdOrAlias}
func (a *API) knock(ctx context.Context, c *httpapi.Caller, q *joinByNameRequest) (*roomResponse, error) {
	id, err := a.roomNamed(ctx, q.Room)
	if err != nil {
		return nil, err
	}
	return a.enter(ctx, c, id, matrix.Knock, q.Body)
}

// roomNamed finds a room by its id or alias.
func (a *API) roomNamed(ctx context.Context, name string) (matrix.RoomID, error) {
	if !strings.HasPrefix(name, "#") {
		return matrix.ParseRoomID(name)
	}
	alias, err := matrix.ParseRoomAlias(name)
	if err != nil {
		return "", err
	}
	id, _, err := a.askedAlias(ctx, alias)
	return id, err
}

// enterContent reads the body of a request to join or knock: the reason, and what else the client wants
// to stand in its member event.
func enterContent(body json.RawMessage) (reason string, extra map[string]json.RawMessage, err error) {
	if len(body) == 0 {
		return "", nil, nil
	}
	if err := json.Unmarshal(body, &extra); err != nil {
		return "", nil, matrix.BadJSON("the body must be an object")
	}
	if raw, ok := extra["reason"]; ok && json.Unmarshal(raw, &reason) != nil {
		return "", nil, matrix.BadJSON("reason must be text")
	}
	for _, ours := range []string{
		"membership", "reason", "third_party_signed", "third_party_invite", "join_authorised_via_users_server", "via",
	} {
		delete(extra, ours)
	}
	return reason, extra, nil
}

// enter joins or knocks in the caller's name.
func (a *API) enter(ctx context.Context, c *httpapi.Caller, id matrix.RoomID, m matrix.Membership, body json.RawMessage) (*roomResponse, error) {
	reason, extra, err := enterContent(body)
	if err != nil {
		return nil, err
	}
	known, err := a.rooms.Known(ctx, id)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, matrix.NotFound("this server knows no room %s, nor a server that is in it", id)
	}
	profiles, err := a.profiles(ctx, c.User)
	if err != nil {
		return nil, err
	}
	_, err = a.rooms.SetMembership(ctx, roomserver.Change{
		Room: id, Sender: c.User, Target: c.User, Membership: m, Reason: reason, Profile: profiles[c.User], Extra: extra, Guest: c.Guest,
	})
	if err != nil {
		return nil, err
	}
	return &roomResponse{RoomID: id}, nil
}

type targetRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	User   matrix.UserID `json:"user_id" required:"true"`
	Reason string        `json:"reason"`
}

// invite invites a user.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/invite
func (a *API) invite(ctx context.Context, c *httpapi.Caller, q *targetRequest) (*nothing, error) {
	if err := a.askForUsers(ctx, q.User); err != nil {
		return nil, err
	}
	profiles, err := a.profiles(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return nil, a.change(ctx, c, q, matrix.Invite, profiles[q.User])
}

// kick makes a user leave.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/kick
func (a *API) kick(ctx context.Context, c *httpapi.Caller, q *targetRequest) (*nothing, error) {
	return nil, a.change(ctx, c, q, matrix.Leave, roomserver.Profile{})
}

// ban bans a user.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/ban
func (a *API) ban(ctx context.Context, c *httpapi.Caller, q *targetRequest) (*nothing, error) {
	return nil, a.change(ctx, c, q, matrix.Ban, roomserver.Profile{})
}

func (a *API) change(ctx context.Context, c *httpapi.Caller, q *targetRequest, m matrix.Membership, p roomserver.Profile) error {
	_, err := a.rooms.SetMembership(ctx, roomserver.Change{
		Room: q.RoomID, Sender: c.User, Target: q.User, Membership: m, Reason: q.Reason, Profile: p,
	})
	return err
}

// unban lifts a ban.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/unban
func (a *API) unban(ctx context.Context, c *httpapi.Caller, q *targetRequest) (*nothing, error) {
	return nil, a.rooms.Unban(ctx, q.RoomID, c.User, q.User, q.Reason)
}

type leaveRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	Reason string        `json:"reason"`
}

// leave leaves a room, refuses an invite or takes a knock back.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/leave
func (a *API) leave(ctx context.Context, c *httpapi.Caller, q *leaveRequest) (*nothing, error) {
	_, err := a.rooms.SetMembership(ctx, roomserver.Change{
		Room: q.RoomID, Sender: c.User, Target: c.User, Membership: matrix.Leave, Reason: q.Reason,
	})
	return nil, err
}

type forgetRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
}

// forget takes a room that the caller has left out of their sight.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/forget
func (a *API) forget(ctx context.Context, c *httpapi.Caller, q *forgetRequest) (*nothing, error) {
	return nil, a.rooms.Forget(ctx, c.User, q.RoomID)
}
