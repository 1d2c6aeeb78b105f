package clientapi

import (
	"context"
	"errors"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) adminRoomRoutes(r *httpapi.Router) {
	const rooms = synapseV1 + "rooms"
	r.Handle("GET", rooms, httpapi.Authed(a.adminRooms), httpapi.AdminsOnly())
	r.Handle("GET", rooms+"/{roomID}", httpapi.Authed(a.adminRoom), httpapi.AdminsOnly())
	r.Handle("GET", rooms+"/{roomID}/members", httpapi.Authed(a.adminMembers), httpapi.AdminsOnly())
	r.Handle("GET", rooms+"/{roomID}/state", httpapi.Authed(a.adminState), httpapi.AdminsOnly())
	r.Handle("GET", synapseV1+"users/{userID}/joined_rooms", httpapi.Authed(a.adminJoinedRooms), httpapi.AdminsOnly())
	r.Handle("POST", synapseV1+"join/{roomIDOrAlias}", httpapi.Authed(a.adminJoin), httpapi.AdminsOnly())
}

type adminRoomEntry struct {
	RoomID      matrix.RoomID `json:"room_id"`
	Name        *string       `json:"name"`
	Topic       *string       `json:"topic"`
	Avatar      *string       `json:"avatar"`
	Alias       *string       `json:"canonical_alias"`
	Joined      int64         `json:"joined_members"`
	LocalJoined int64         `json:"joined_local_members"`
	Version     string        `json:"version"`
	Creator     matrix.UserID `json:"creator"`
	Encryption  *string       `json:"encryption"`
	Federatable bool          `json:"federatable"`
	Public      bool          `json:"public"`
	JoinRules   *string       `json:"join_rules"`
	GuestAccess *string       `json:"guest_access"`
	History     *string       `json:"history_visibility"`
	StateEvents int           `json:"state_events"`
	RoomType    *string       `json:"room_type"`
	Forgotten   bool          `json:"forgotten"`
}

func newAdminRoom(o roomserver.Overview) adminRoomEntry {
	return adminRoomEntry{
		RoomID: o.RoomID, Name: optional(o.Name), Topic: optional(o.Topic), Avatar: optional(o.AvatarURL), Alias: optional(o.CanonicalAlias),
		Joined: o.NumJoinedMembers, LocalJoined: o.LocalJoined, Version: o.Version, Creator: o.Creator,
		Encryption: optional(o.Encryption), Federatable: o.Federated, Public: o.Public, JoinRules: optional(o.JoinRule),
		GuestAccess: optional(o.GuestAccess), History: optional(o.Visibility), StateEvents: o.StateEvents, RoomType: optional(o.RoomType),
	}
}

type adminRoomsRequest struct {
	page
	Order     string `query:"order_by"`
	Direction string `query:"dir"`
	Search    string `query:"search_term"`
	Public    *bool  `query:"public_rooms"`
	Empty     *bool  `query:"empty_rooms"`
}

type adminRoomsResponse struct {
	Rooms  []adminRoomEntry `json:"rooms"`
	Offset int64            `json:"offset"`
	Total  int64            `json:"total_rooms"`
	Next   int64            `json:"next_batch,omitempty"`
	Prev   *int64           `json:"prev_batch,omitempty"`
}

// adminRooms lists rooms.
//
// Extension: GET /_synapse/admin/v1/rooms
func (a *API) adminRooms(ctx context.Context, _ *httpapi.Caller, q *adminRoomsRequest) (*adminRoomsResponse, error) {
	from, limit, err := q.bounds()
	if err != nil {
		return nil, err
	}
	rooms, total, err := a.rooms.Overviews(ctx, roomserver.OverviewQuery{
		Search: q.Search, Public: q.Public, Empty: q.Empty, Order: q.Order, Backward: q.Direction == "b", Skip: from, Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	answer := &adminRoomsResponse{Rooms: make([]adminRoomEntry, len(rooms)), Offset: from, Total: total}
	for i, o := range rooms {
		answer.Rooms[i] = newAdminRoom(o)
	}
	if end := from + int64(len(rooms)); len(rooms) > 0 && end < total {
		answer.Next = end
	}
	if from > 0 {
		before := max(0, from-int64(limit))
		answer.Prev = &before
	}
	return answer, nil
}

type adminRoomRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
}

// adminRoom tells of a room.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}
func (a *API) adminRoom(ctx context.Context, _ *httpapi.Caller, q *adminRoomRequest) (*adminRoomEntry, error) {
	o, err := a.rooms.Overview(ctx, q.RoomID)
	if err != nil {
		return nil, err
	}
	answer := newAdminRoom(o)
	return &answer, nil
}

type adminMembersResponse struct {
	Members []matrix.UserID `json:"members"`
	Total   int             `json:"total"`
}

// adminMembers lists who is in a room.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}/members
func (a *API) adminMembers(ctx context.Context, _ *httpapi.Caller, q *adminRoomRequest) (*adminMembersResponse, error) {
	members, err := a.rooms.OverseenMembers(ctx, q.RoomID)
	if err != nil {
		return nil, err
	}
	return &adminMembersResponse{members, len(members)}, nil
}

type adminStateResponse struct {
	State []*roomserver.ClientEvent `json:"state"`
}

// adminState shows the state of a room.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}/state
func (a *API) adminState(ctx context.Context, _ *httpapi.Caller, q *adminRoomRequest) (*adminStateResponse, error) {
	events, err := a.rooms.OverseenState(ctx, q.RoomID)
	if err != nil {
		return nil, err
	}
	return &adminStateResponse{events}, nil
}

type adminJoinedRoomsResponse struct {
	Rooms []matrix.RoomID `json:"joined_rooms"`
	Total int             `json:"total"`
}

// adminJoinedRooms lists the rooms that a user is in.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/joined_rooms
func (a *API) adminJoinedRooms(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminJoinedRoomsResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	rooms, err := a.rooms.JoinedRooms(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &adminJoinedRoomsResponse{rooms, len(rooms)}, nil
}

type adminJoinRequest struct {
	Room string        `path:"roomIDOrAlias"`
	User matrix.UserID `json:"user_id" required:"true"`
}

// adminJoin joins a user into a room. Where they may not join by themselves the administrator invites
// them, who has to be in the room for that.
//
// Extension: POST /_synapse/admin/v1/join/{roomIdOrAlias}
func (a *API) adminJoin(ctx context.Context, c *httpapi.Caller, q *adminJoinRequest) (*roomResponse, error) {
	u, err := a.localUser(ctx, q.User)
	if err != nil {
		return nil, err
	}
	if u.Deactivated != 0 {
		return nil, matrix.E(matrix.CodeUserDeactivated, "%s is deactivated", q.User)
	}
	id, err := a.roomNamed(ctx, q.Room)
	if err != nil {
		return nil, err
	}
	joining := &httpapi.Caller{User: q.User}
	answer, err := a.enter(ctx, joining, entrance{room: id}, matrix.Join, nil)
	var refused *matrix.Error
	if !errors.As(err, &refused) || refused.Code != matrix.CodeForbidden {
		return answer, err
	}
	if _, err := a.invite(ctx, c, &inviteRequest{RoomID: id, User: q.User}); err != nil {
		return nil, err
	}
	return a.enter(ctx, joining, entrance{room: id}, matrix.Join, nil)
}
