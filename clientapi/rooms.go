package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) roomRoutes(r *httpapi.Router) {
	v3(r, "POST", "/createRoom", httpapi.Authed(a.createRoom), httpapi.Limit("create"), httpapi.NotSuspended())
	v3(r, "POST", "/rooms/{roomID}/upgrade", httpapi.Authed(a.upgradeRoom), httpapi.Limit("create"), httpapi.NotSuspended())
	v3(r, "GET", "/joined_rooms", httpapi.Authed(a.joinedRooms), httpapi.GuestsToo())
}

type createRoomRequest struct {
	Visibility      string                     `json:"visibility"`
	Preset          roomserver.Preset          `json:"preset"`
	Version         *matrix.RoomVersion        `json:"room_version"`
	Alias           string                     `json:"room_alias_name"`
	Name            string                     `json:"name"`
	Topic           string                     `json:"topic"`
	Invite          []matrix.UserID            `json:"invite"`
	Invite3PID      []json.RawMessage          `json:"invite_3pid"`
	CreationContent map[string]json.RawMessage `json:"creation_content"`
	InitialState    []roomserver.StateWish     `json:"initial_state"`
	PowerLevels     map[string]json.RawMessage `json:"power_level_content_override"`
	Direct          bool                       `json:"is_direct"`
}

type createRoomResponse struct {
	RoomID matrix.RoomID `json:"room_id"`
}

// The bounds of a wish for a room.
const (
	createInvitesMost = 100
	createStateMost   = 200
)

// createRoom makes a new room.
//
// Spec: POST /_matrix/client/v3/createRoom
func (a *API) createRoom(ctx context.Context, c *httpapi.Caller, q *createRoomRequest) (*createRoomResponse, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	published := q.Visibility == "public"
	if c.Shadowed { // the room is theirs alone
		q.Invite, published = nil, false
	}
	w := roomserver.Creation{
		Creator: c.User, Version: a.version, Preset: q.Preset, Content: q.CreationContent, Levels: q.PowerLevels,
		State: q.InitialState, Name: q.Name, Topic: q.Topic, Published: published, Direct: q.Direct,
	}
	if q.Version != nil {
		w.Version = *q.Version
	}
	if q.Preset == "" {
		w.Preset = roomserver.PrivateChat
		if q.Visibility == "public" {
			w.Preset = roomserver.PublicChat
		}
	}
	if q.Alias != "" {
		alias, err := matrix.ParseRoomAlias("#" + q.Alias + ":" + string(a.server))
		if err != nil {
			return nil, matrix.InvalidParam("room_alias_name is not the local part of an alias")
		}
		if err := a.mayName(c, alias); err != nil {
			return nil, err
		}
		w.Alias = alias
	}
	if err := a.askForUsers(ctx, q.Invite...); err != nil {
		return nil, err
	}
	profiles, err := a.profiles(ctx, append(q.Invite, c.User)...)
	if err != nil {
		return nil, err
	}
	w.Profile = profiles[c.User]
	for _, u := range q.Invite {
		w.Invite = append(w.Invite, roomserver.Invitee{User: u, Profile: profiles[u]})
	}
	id, err := a.rooms.Create(ctx, w)
	if err != nil {
		return nil, err
	}
	a.inviteElsewhere(ctx, id, c.User, q)
	return &createRoomResponse{RoomID: id}, nil
}

// inviteElsewhere invites those of other servers into a new room. The room stands, whether they can be reached
// or not; who is missing can be invited again.
func (a *API) inviteElsewhere(ctx context.Context, room matrix.RoomID, creator matrix.UserID, q *createRoomRequest) {
	for _, u := range q.Invite {
		if u.Server() != a.server {
			a.remote.Invited(ctx, roomserver.Change{
				Room: room, Sender: creator, Target: u, Membership: matrix.Invite, Direct: q.Direct,
			})
		}
	}
}

// check refuses what the types of the members cannot tell.
func (q *createRoomRequest) check() error {
	switch q.Visibility {
	case "", "public", "private":
	default:
		return matrix.InvalidParam("visibility must be public or private")
	}
	switch q.Preset {
	case "", roomserver.PrivateChat, roomserver.TrustedPrivateChat, roomserver.PublicChat:
	default:
		return matrix.InvalidParam("there is no preset %q", q.Preset)
	}
	if len(q.Invite3PID) > 0 {
		return errNo3PIDInvites
	}
	if len(q.Invite) > createInvitesMost {
		return matrix.InvalidParam("a new room cannot have more than %d invites", createInvitesMost)
	}
	if len(q.InitialState) > createStateMost {
		return matrix.InvalidParam("a new room cannot have more than %d state events", createStateMost)
	}
	for _, s := range q.InitialState {
		if s.Type == "" || len(s.Content) == 0 || s.Content[0] != '{' {
			return matrix.BadJSON("each of initial_state needs a type and an object as content")
		}
		if s.Type == "m.room.create" || s.Type == "m.room.member" {
			return matrix.InvalidParam("initial_state cannot have events of the type %s", s.Type)
		}
	}
	return nil
}

// profiles are the profiles of those of the users who belong to this server.
func (a *API) profiles(ctx context.Context, users ...matrix.UserID) (map[matrix.UserID]roomserver.Profile, error) {
	out := make(map[matrix.UserID]roomserver.Profile, len(users))
	var ours []matrix.UserID
	for _, u := range users {
		if u.Server() == a.server {
			ours = append(ours, u)
		}
	}
	known, err := a.accounts.Profiles(ctx, ours)
	for u, p := range known {
		out[u] = roomserver.Profile(p)
	}
	return out, err
}

type upgradeRoomRequest struct {
	RoomID   matrix.RoomID      `path:"roomID"`
	Version  matrix.RoomVersion `json:"new_version" required:"true"`
	Creators []matrix.UserID    `json:"additional_creators"`
}

type upgradeRoomResponse struct {
	Replacement matrix.RoomID `json:"replacement_room"`
}

// upgradeRoom replaces a room by one of another version.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/upgrade
func (a *API) upgradeRoom(ctx context.Context, c *httpapi.Caller, q *upgradeRoomRequest) (*upgradeRoomResponse, error) {
	if c.Shadowed {
		return nil, matrix.Forbidden("you may not upgrade the room")
	}
	profiles, err := a.profiles(ctx, c.User)
	if err != nil {
		return nil, err
	}
	id, err := a.rooms.Upgrade(ctx, c.User, q.RoomID, q.Version, q.Creators, profiles[c.User])
	if err != nil {
		return nil, err
	}
	return &upgradeRoomResponse{Replacement: id}, nil
}

type joinedRoomsResponse struct {
	Rooms []matrix.RoomID `json:"joined_rooms"`
}

// joinedRooms lists the rooms that the caller is in.
//
// Spec: GET /_matrix/client/v3/joined_rooms
func (a *API) joinedRooms(ctx context.Context, c *httpapi.Caller, _ *struct{}) (*joinedRoomsResponse, error) {
	rooms, err := a.rooms.JoinedRooms(ctx, c.User)
	if err != nil {
		return nil, err
	}
	return &joinedRoomsResponse{Rooms: rooms}, nil
}
