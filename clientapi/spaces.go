package clientapi

import (
	"context"

	"astrocyte/federation/remote"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) spaceRoutes(r *httpapi.Router) {
	const v1, unstable = "/_matrix/client/v1", "/_matrix/client/unstable"
	r.Handle("GET", v1+"/rooms/{roomID}/hierarchy", httpapi.Authed(a.hierarchy), httpapi.GuestsToo())
	r.Handle("GET", v1+"/room_summary/{room}", httpapi.Maybe(a.roomSummary), httpapi.GuestsToo())
	r.Handle("GET", unstable+"/im.nheko.summary/summary/{room}", httpapi.Maybe(a.oldRoomSummary), httpapi.GuestsToo())
	r.Handle("GET", unstable+"/im.nheko.summary/rooms/{room}/summary", httpapi.Maybe(a.oldRoomSummary), httpapi.GuestsToo())
	r.Handle("GET", v1+"/mutual_rooms", httpapi.Authed(a.mutualRooms), httpapi.Limit("search"))
	r.Handle("GET", unstable+"/uk.half-shot.msc2666/user/mutual_rooms", httpapi.Authed(a.oldMutualRooms), httpapi.Limit("search"))
}

type hierarchyRequest struct {
	RoomID    matrix.RoomID `path:"roomID"`
	Suggested bool          `query:"suggested_only"`
	Limit     *int          `query:"limit"`
	MaxDepth  *int          `query:"max_depth"`
	From      string        `query:"from"`
}

type hierarchyResponse struct {
	Rooms []roomserver.HierarchyRoom `json:"rooms"`
	Next  string                     `json:"next_batch,omitempty"`
}

// The bounds of a part of a space.
const (
	hierarchyDefault = 50
	hierarchyMost    = 200
	hierarchyDepth   = 50
)

// hierarchy lists the rooms below a space.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/hierarchy
func (a *API) hierarchy(ctx context.Context, c *httpapi.Caller, q *hierarchyRequest) (*hierarchyResponse, error) {
	h, err := q.query()
	if err != nil {
		return nil, err
	}
	return a.spaceOf(ctx, c.User, h)
}

func (a *API) spaceOf(ctx context.Context, user matrix.UserID, h remote.HierarchyQuery) (*hierarchyResponse, error) {
	list, err := a.remote.Hierarchy(ctx, user, h)
	if err != nil {
		return nil, err
	}
	return &hierarchyResponse{Rooms: list.Rooms, Next: list.Next}, nil
}

// query checks what is asked for.
func (q *hierarchyRequest) query() (remote.HierarchyQuery, error) {
	h := remote.HierarchyQuery{
		Room: q.RoomID, Suggested: q.Suggested, Depth: hierarchyDepth, Limit: hierarchyDefault, From: q.From,
	}
	if q.Limit != nil {
		limit, err := positiveLimit(q.Limit)
		if err != nil {
			return h, err
		}
		h.Limit = min(limit, hierarchyMost)
	}
	if q.MaxDepth != nil {
		if *q.MaxDepth < 0 {
			return h, matrix.InvalidParam("max_depth cannot be less than 0")
		}
		h.Depth = min(*q.MaxDepth, hierarchyDepth)
	}
	return h, nil
}

type roomSummaryRequest struct {
	Room string   `path:"room"`
	Via  []string `query:"via"`
}

type roomSummaryResponse struct {
	*roomserver.RoomSummary
	Membership matrix.Membership `json:"membership,omitempty"`
}

// roomSummary sums up a room for those who could enter it.
//
// Spec: GET /_matrix/client/v1/room_summary/{roomIdOrAlias}
func (a *API) roomSummary(ctx context.Context, c *httpapi.Caller, q *roomSummaryRequest) (*roomSummaryResponse, error) {
	e, err := a.entrance(ctx, &joinByNameRequest{Room: q.Room, Via: q.Via})
	if err != nil {
		return nil, err
	}
	here, err := a.rooms.Here(ctx, e.room)
	if err != nil {
		return nil, err
	}
	summary := a.rooms.Summary
	if !here {
		summary = func(ctx context.Context, user matrix.UserID, id matrix.RoomID) (*roomserver.RoomSummary, matrix.Membership, error) {
			return a.remote.Summary(ctx, user, id, e.via)
		}
	}
	s, membership, err := summary(ctx, c.User, e.room)
	if err != nil {
		return nil, err
	}
	out := &roomSummaryResponse{RoomSummary: s}
	if c.User != "" {
		out.Membership = membership
	}
	return out, nil
}

type oldRoomSummaryResponse struct {
	*roomSummaryResponse
	Encryption string             `json:"im.nheko.summary.encryption,omitempty"`
	Version    matrix.RoomVersion `json:"im.nheko.summary.room_version,omitempty"`
}

// oldRoomSummary is roomSummary as clients asked for it before it was in the specification.
//
// Extension: GET /_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}
// Extension: GET /_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary
func (a *API) oldRoomSummary(ctx context.Context, c *httpapi.Caller, q *roomSummaryRequest) (*oldRoomSummaryResponse, error) {
	s, err := a.roomSummary(ctx, c, q)
	if err != nil {
		return nil, err
	}
	return &oldRoomSummaryResponse{roomSummaryResponse: s, Encryption: s.RoomSummary.Encryption, Version: s.RoomSummary.Version}, nil
}

type mutualRoomsRequest struct {
	User string `query:"user_id"`
	From string `query:"from"`
}

type mutualRoomsResponse struct {
	Joined []matrix.RoomID `json:"joined"`
	Count  int             `json:"count"`
	Next   string          `json:"next_batch,omitempty"`
}

// mutualMost bounds a part of the rooms that two users share.
const mutualMost = 100

// mutualRooms lists the rooms that the caller shares with another user.
//
// Spec: GET /_matrix/client/v1/mutual_rooms
func (a *API) mutualRooms(ctx context.Context, c *httpapi.Caller, q *mutualRoomsRequest) (*mutualRoomsResponse, error) {
	if q.User == "" {
		return nil, matrix.MissingParam("the parameter user_id is missing")
	}
	other, err := matrix.ParseUserID(q.User)
	if err != nil {
		return nil, err
	}
	if other == c.User {
		return nil, matrix.InvalidParam("you share all your rooms with yourself")
	}
	m, err := a.rooms.MutualRooms(ctx, c.User, other, q.From, mutualMost)
	if err != nil {
		return nil, err
	}
	return &mutualRoomsResponse{Joined: m.Rooms, Count: m.Count, Next: m.Next}, nil
}

type oldMutualRoomsRequest struct {
	User string `query:"user_id"`
	From string `query:"batch_token"`
}

type oldMutualRoomsResponse struct {
	Joined []matrix.RoomID `json:"joined"`
	Next   string          `json:"next_batch_token,omitempty"`
}

// oldMutualRooms is mutualRooms as clients asked for it before it was in the specification.
//
// Extension: GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms
func (a *API) oldMutualRooms(ctx context.Context, c *httpapi.Caller, q *oldMutualRoomsRequest) (*oldMutualRoomsResponse, error) {
	m, err := a.mutualRooms(ctx, c, &mutualRoomsRequest{User: q.User, From: q.From})
	if err != nil {
		return nil, err
	}
	return &oldMutualRoomsResponse{Joined: m.Joined, Next: m.Next}, nil
}
