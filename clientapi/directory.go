package clientapi

import (
	"context"

	"astrocyte/federation/remote"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) directoryRoutes(r *httpapi.Router) {
	const alias = "/directory/room/{alias}"
	v3(r, "GET", alias, httpapi.Open(a.resolveAlias))
	v3(r, "PUT", alias, httpapi.Authed(a.setAlias), httpapi.NotSuspended())
	v3(r, "DELETE", alias, httpapi.Authed(a.deleteAlias), httpapi.NotSuspended())
	v3(r, "GET", "/rooms/{roomID}/aliases", httpapi.Authed(a.roomAliases))
	const list = "/directory/list/room/{roomID}"
	v3(r, "GET", list, httpapi.Open(a.roomVisibility))
	v3(r, "PUT", list, httpapi.Authed(a.setRoomVisibility), httpapi.NotSuspended())
	v3(r, "GET", "/publicRooms", httpapi.Maybe(a.publicRooms), httpapi.GuestsToo())
	v3(r, "POST", "/publicRooms", httpapi.Authed(a.searchPublicRooms), httpapi.GuestsToo())
}

type aliasRequest struct {
	Alias matrix.RoomAlias `path:"alias"`
}

type aliasResponse struct {
	RoomID  matrix.RoomID       `json:"room_id"`
	Servers []matrix.ServerName `json:"servers"`
}

// resolveAlias finds the room of an alias.
//
// Spec: GET /_matrix/client/v3/directory/room/{roomAlias}
func (a *API) resolveAlias(ctx context.Context, _ *httpapi.Caller, q *aliasRequest) (*aliasResponse, error) {
	id, servers, err := a.askedAlias(ctx, q.Alias)
	if err != nil {
		return nil, err
	}
	return &aliasResponse{RoomID: id, Servers: orEmpty(servers)}, nil
}

type setAliasRequest struct {
	Alias  matrix.RoomAlias `path:"alias"`
	RoomID matrix.RoomID    `json:"room_id" required:"true"`
}

// setAlias gives a room an alias.
//
// Spec: PUT /_matrix/client/v3/directory/room/{roomAlias}
func (a *API) setAlias(ctx context.Context, c *httpapi.Caller, q *setAliasRequest) (*nothing, error) {
	if q.Alias.Server() != a.server {
		return nil, matrix.InvalidParam("an alias made here must end in :%s", a.server)
	}
	if err := a.mayName(c, q.Alias); err != nil {
		return nil, err
	}
	return nil, a.rooms.SetAlias(ctx, c.User, c.AppService != nil, q.Alias, q.RoomID)
}

// deleteAlias takes an alias away.
//
// Spec: DELETE /_matrix/client/v3/directory/room/{roomAlias}
func (a *API) deleteAlias(ctx context.Context, c *httpapi.Caller, q *aliasRequest) (*nothing, error) {
	return nil, a.rooms.DeleteAlias(ctx, c.User, c.Admin, q.Alias)
}

type aliasesResponse struct {
	Aliases []matrix.RoomAlias `json:"aliases"`
}

// roomAliases lists the names that a room has on this server.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/aliases
func (a *API) roomAliases(ctx context.Context, c *httpapi.Caller, q *stateRequest) (*aliasesResponse, error) {
	aliases, err := a.rooms.Aliases(ctx, c.User, q.RoomID)
	if err != nil {
		return nil, err
	}
	return &aliasesResponse{Aliases: aliases}, nil
}

type visibilityResponse struct {
	Visibility string `json:"visibility"`
}

// roomVisibility says whether a room is in the directory.
//
// Spec: GET /_matrix/client/v3/directory/list/room/{roomId}
func (a *API) roomVisibility(ctx context.Context, _ *httpapi.Caller, q *stateRequest) (*visibilityResponse, error) {
	public, err := a.rooms.Published(ctx, q.RoomID)
	if err != nil {
		return nil, err
	}
	if public {
		return &visibilityResponse{Visibility: "public"}, nil
	}
	return &visibilityResponse{Visibility: "private"}, nil
}

type setVisibilityRequest struct {
	RoomID     matrix.RoomID `path:"roomID"`
	Visibility string        `json:"visibility"`
}

// setRoomVisibility puts a room into the directory, or takes it out.
//
// Spec: PUT /_matrix/client/v3/directory/list/room/{roomId}
func (a *API) setRoomVisibility(ctx context.Context, c *httpapi.Caller, q *setVisibilityRequest) (*nothing, error) {
	switch q.Visibility {
	case "", "public", "private":
	default:
		return nil, matrix.InvalidParam("visibility must be public or private")
	}
	if c.Shadowed {
		return nil, nil
	}
	return nil, a.rooms.Publish(ctx, c.User, c.Admin, q.RoomID, q.Visibility != "private")
}

type publicRoomsRequest struct {
	Limit  *int   `query:"limit"`
	Since  string `query:"since"`
	Server string `query:"server"`

	allNetworks bool
	network     string // of an application service; empty: Matrix
}

type publicRoomsResponse struct {
	Chunk []roomserver.RoomEntry `json:"chunk"`
	Next  string                 `json:"next_batch,omitempty"`
	Prev  string                 `json:"prev_batch,omitempty"`
	Total int                    `json:"total_room_count_estimate,omitempty"`
}

// publicRooms lists the directory.
//
// Spec: GET /_matrix/client/v3/publicRooms
func (a *API) publicRooms(ctx context.Context, _ *httpapi.Caller, q *publicRoomsRequest) (*publicRoomsResponse, error) {
	return a.listRooms(ctx, q, roomserver.DirectoryQuery{})
}

type searchRoomsRequest struct {
	Server string `query:"server"`
	Limit  *int   `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		Search string    `json:"generic_search_term"`
		Types  []*string `json:"room_types"`
	} `json:"filter"`
	AllNetworks bool   `json:"include_all_networks"`
	Network     string `json:"third_party_instance_id"`
}

// searchPublicRooms lists the rooms of the directory that match a filter.
//
// Spec: POST /_matrix/client/v3/publicRooms
func (a *API) searchPublicRooms(ctx context.Context, _ *httpapi.Caller, q *searchRoomsRequest) (*publicRoomsResponse, error) {
	return a.listRooms(ctx, &publicRoomsRequest{Limit: q.Limit, Since: q.Since, Server: q.Server, allNetworks: q.AllNetworks, network: q.Network},
		roomserver.DirectoryQuery{Search: q.Filter.Search, Types: q.Filter.Types})
}

// directoryMost bounds a part of the directory.
const directoryMost = 500

func (a *API) listRooms(ctx context.Context, q *publicRoomsRequest, d roomserver.DirectoryQuery) (*publicRoomsResponse, error) {
	d.Since, d.Limit = q.Since, directoryMost
	if q.Limit != nil {
		if *q.Limit < 0 {
			return nil, matrix.InvalidParam("limit cannot be less than 0")
		}
		d.Limit = min(*q.Limit, directoryMost)
	}
	if q.Server != "" && matrix.ServerName(q.Server) != a.server {
		return a.listRemoteRooms(ctx, q, d)
	}
	if q.network != "" {
		return a.networkRooms(ctx, q.network, d)
	}
	d.Networks = q.allNetworks
	list, err := a.rooms.Directory(ctx, d)
	if err != nil {
		return nil, err
	}
	return &publicRoomsResponse{Chunk: list.Rooms, Next: list.Next, Prev: list.Prev, Total: list.Total}, nil
}

// listRemoteRooms lists the directory of another server.
func (a *API) listRemoteRooms(ctx context.Context, q *publicRoomsRequest, d roomserver.DirectoryQuery) (*publicRoomsResponse, error) {
	server, err := matrix.ParseServerName(q.Server)
	if err != nil {
		return nil, err
	}
	list, err := a.remote.PublicRooms(ctx, server, remote.RoomsQuery{
		Search: d.Search, Types: d.Types, Since: d.Since, Limit: d.Limit, AllNetworks: q.allNetworks, Network: q.network,
	})
	if err != nil {
		return nil, err
	}
	return &publicRoomsResponse{Chunk: list.Chunk, Next: list.Next, Prev: list.Prev, Total: list.Total}, nil
}
