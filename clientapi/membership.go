package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"astrocyte/federation/remote"
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
	return a.enter(ctx, c, entrance{room: q.RoomID}, matrix.Join, q.Body)
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
	e, err := a.entrance(ctx, q)
	if err != nil {
		return nil, err
	}
	return a.enter(ctx, c, e, matrix.Join, q.Body)
}

// knock asks for an invite.
//
// Spec: POST /_matrix/client/v3/knock/{roomIdOrAlias}
func (a *API) knock(ctx context.Context, c *httpapi.Caller, q *joinByNameRequest) (*roomResponse, error) {
	e, err := a.entrance(ctx, q)
	if err != nil {
		return nil, err
	}
	return a.enter(ctx, c, e, matrix.Knock, q.Body)
}

// entrance is a room that somebody wants into, and servers that may let them in.
type entrance struct {
	room matrix.RoomID
	via  []matrix.ServerName
}

// roomNamed finds a room by its id or alias.
func (a *API) roomNamed(ctx context.Context, name string) (matrix.RoomID, error) {
	e, err := a.entrance(ctx, &joinByNameRequest{Room: name})
	return e.room, err
}

// entrance finds the room of a request by its id or alias, and the servers that may help.
func (a *API) entrance(ctx context.Context, q *joinByNameRequest) (e entrance, err error) {
	for _, name := range append(q.Via, q.Server...) {
		server, err := matrix.ParseServerName(name)
		if err != nil {
			return e, err
		}
		e.via = append(e.via, server)
	}
	if !strings.HasPrefix(q.Room, "#") {
		e.room, err = matrix.ParseRoomID(q.Room)
		return e, err
	}
	alias, err := matrix.ParseRoomAlias(q.Room)
	if err != nil {
		return e, err
	}
	id, servers, err := a.askedAlias(ctx, alias)
	e.room, e.via = id, append(e.via, servers...)
	return e, err
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

// enter joins or knocks in the caller's name: here where this server is in the room, and else by the help of a
// server that is.
func (a *API) enter(ctx context.Context, c *httpapi.Caller, e entrance, m matrix.Membership, body json.RawMessage) (*roomResponse, error) {
	reason, extra, err := enterContent(body)
	if err != nil {
		return nil, err
	}
	profiles, err := a.profiles(ctx, c.User)
	if err != nil {
		return nil, err
	}
	change := roomserver.Change{
		Room: e.room, Sender: c.User, Target: c.User, Membership: m, Reason: reason, Profile: profiles[c.User], Extra: extra, Guest: c.Guest, Shadowed: c.Shadowed,
	}
	if err := a.rooms.MayEnter(ctx, e.room); err != nil {
		return nil, err
	}
	in, err := a.rooms.Resident(ctx, e.room)
	if err != nil {
		return nil, err
	}
	if in {
		if err = a.enterHere(ctx, e, change); needsAnother(err) {
			err = a.enterElsewhere(ctx, e, change, err)
		}
	} else {
		err = a.enterElsewhere(ctx, e, change, nil)
	}
	if err != nil {
		return nil, err
	}
	return &roomResponse{RoomID: e.room}, nil
}

// What another server has changed a moment ago, such as who may invite, is here a moment later: so long this one
// tries to let a user in itself before it asks another.
const (
	enterTries = 5
	enterPause = 40 * time.Millisecond
)

// enterHere joins or knocks by this server.
func (a *API) enterHere(ctx context.Context, e entrance, change roomserver.Change) error {
	for try := 1; ; try++ {
		_, err := a.rooms.SetMembership(ctx, change)
		if !needsAnother(err) || try == enterTries {
			return err
		}
		if try == 1 {
			a.remote.Settle(ctx, e.via)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(enterPause):
		}
	}
}

// needsAnother says whether another server of the room might let a user in although this one cannot.
func needsAnother(err error) bool {
	var refused *matrix.Error
	return errors.As(err, &refused) && (refused.Code == matrix.CodeUnableToGrantJoin || refused.Code == matrix.CodeUnableToAuthoriseJoin)
}

// enterElsewhere joins or knocks by other servers. Where this server is in the room, refused is why it cannot
// let the user in itself.
func (a *API) enterElsewhere(ctx context.Context, e entrance, change roomserver.Change, refused error) error {
	invited, _, err := a.rooms.FindOutside(ctx, change.Target, e.room)
	if err != nil {
		return err
	}
	others, err := a.rooms.ServersOf(ctx, e.room)
	if err != nil {
		return err
	}
	via := append(e.via, invited.Via)
	if len(e.via) == 0 || refused != nil { // whoever says by which servers means those, but for this one
		via = append(append(via, e.room.Server()), others...)
	}
	entry := remote.Entry{Room: e.room, User: change.Target, Via: via, Guest: change.Guest}
	if entry.Content, err = change.Written(); err != nil {
		return err
	}
	if change.Membership == matrix.Knock && change.Shadowed {
		return nil
	}
	if change.Membership == matrix.Knock {
		return a.remote.Knock(ctx, entry)
	}
	err = a.remote.Join(ctx, entry)
	var theirs *matrix.Error
	if refused != nil && errors.As(err, &theirs) && theirs.Code != matrix.CodeForbidden { // there is nobody who knows better
		return refused
	}
	return err
}

type targetRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	User   matrix.UserID `json:"user_id" required:"true"`
	Reason string        `json:"reason"`
}

type inviteRequest struct {
	RoomID  matrix.RoomID `path:"roomID"`
	User    matrix.UserID `json:"user_id"`
	Reason  string        `json:"reason"`
	Medium  string        `json:"medium"`
	Address string        `json:"address"`
}

// errNo3PIDInvites is what those are told who invite somebody of whom they know an address only.
var errNo3PIDInvites = matrix.E(matrix.CodeThreepidDenied, "this server sends no invites to e-mail addresses or phone numbers")

// invite invites a user.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/invite
func (a *API) invite(ctx context.Context, c *httpapi.Caller, q *inviteRequest) (*nothing, error) {
	switch {
	case q.User == "" && q.Medium+q.Address != "":
		return nil, errNo3PIDInvites
	case q.User == "":
		return nil, matrix.E(matrix.CodeMissingParam, "the member user_id is missing")
	}
	if err := a.askForUsers(ctx, q.User); err != nil {
		return nil, err
	}
	profiles, err := a.profiles(ctx, q.User)
	if err != nil {
		return nil, err
	}
	if q.User.Server() != a.server && !c.Shadowed {
		_, err := a.remote.Invite(ctx, roomserver.Change{
			Room: q.RoomID, Sender: c.User, Target: q.User, Membership: matrix.Invite, Reason: q.Reason,
		})
		return nil, err
	}
	return nil, a.change(ctx, c, &targetRequest{q.RoomID, q.User, q.Reason}, matrix.Invite, profiles[q.User])
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
		Room: q.RoomID, Sender: c.User, Target: q.User, Membership: m, Reason: q.Reason, Profile: p, Shadowed: c.Shadowed,
	})
	return err
}

// unban lifts a ban.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/unban
func (a *API) unban(ctx context.Context, c *httpapi.Caller, q *targetRequest) (*nothing, error) {
	return nil, a.rooms.Unban(ctx, roomserver.Change{Room: q.RoomID, Sender: c.User, Target: q.User, Reason: q.Reason, Shadowed: c.Shadowed})
}

type leaveRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	Reason string        `json:"reason"`
}

// leave leaves a room, refuses an invite or takes a knock back.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/leave
func (a *API) leave(ctx context.Context, c *httpapi.Caller, q *leaveRequest) (*nothing, error) {
	was, outside, err := a.rooms.FindOutside(ctx, c.User, q.RoomID)
	if err != nil {
		return nil, err
	}
	if outside && (was.Membership == matrix.Invite || was.Membership == matrix.Knock) {
		return nil, a.remote.Leave(ctx, was, q.Reason)
	}
	_, err = a.rooms.SetMembership(ctx, roomserver.Change{
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
