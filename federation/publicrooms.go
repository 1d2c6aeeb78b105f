package federation

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) publicRoomRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/publicRooms", httpapi.Signed(a.publicRooms), httpapi.PerServer("rooms"))
	r.Handle("POST", "/_matrix/federation/v1/publicRooms", httpapi.Signed(a.searchPublicRooms), httpapi.PerServer("rooms"))
}

type publicRoomsRequest struct {
	Limit   *int   `query:"limit"`
	Since   string `query:"since"`
	Network string `query:"third_party_instance_id"`
}

type publicRoomsResponse struct {
	Chunk []roomserver.RoomEntry `json:"chunk"`
	Next  string                 `json:"next_batch,omitempty"`
	Prev  string                 `json:"prev_batch,omitempty"`
	Total int                    `json:"total_room_count_estimate,omitempty"`
}

// publicRooms lists the directory of this server.
//
// Spec: GET /_matrix/federation/v1/publicRooms
func (a *API) publicRooms(ctx context.Context, _ *httpapi.Caller, q *publicRoomsRequest) (*publicRoomsResponse, error) {
	return a.listRooms(ctx, q, roomserver.DirectoryQuery{})
}

type searchRoomsRequest struct {
	Limit  *int   `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		Search string    `json:"generic_search_term"`
		Types  []*string `json:"room_types"`
	} `json:"filter"`
	Network string `json:"third_party_instance_id"`
}

// searchPublicRooms lists the rooms of the directory of this server that match a filter.
//
// Spec: POST /_matrix/federation/v1/publicRooms
func (a *API) searchPublicRooms(ctx context.Context, _ *httpapi.Caller, q *searchRoomsRequest) (*publicRoomsResponse, error) {
	return a.listRooms(ctx, &publicRoomsRequest{Limit: q.Limit, Since: q.Since, Network: q.Network},
		roomserver.DirectoryQuery{Search: q.Filter.Search, Types: q.Filter.Types})
}

// directoryMost bounds a part of the directory.
const directoryMost = 500

func (a *API) listRooms(ctx context.Context, q *publicRoomsRequest, d roomserver.DirectoryQuery) (*publicRoomsResponse, error) {
	if !a.directory {
		return nil, matrix.Forbidden("the directory of this server is for its users")
	}
	d.Since, d.Limit = q.Since, directoryMost
	if q.Limit != nil {
		if *q.Limit < 0 {
			return nil, matrix.InvalidParam("limit cannot be less than 0")
		}
		d.Limit = min(*q.Limit, directoryMost)
	}
	if q.Network != "" { // rooms of a bridge are for users of this server
		return &publicRoomsResponse{Chunk: []roomserver.RoomEntry{}}, nil
	}
	list, err := a.rooms.Directory(ctx, d)
	if err != nil {
		return nil, err
	}
	return &publicRoomsResponse{Chunk: list.Rooms, Next: list.Next, Prev: list.Prev, Total: list.Total}, nil
}
