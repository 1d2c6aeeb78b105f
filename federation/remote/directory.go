package remote

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// maxServers bounds how many servers of a room are taken from an answer.
const maxServers = 100

// RoomOfAlias asks the server of an alias for its room, and servers that are in it.
//
// Spec: GET /_matrix/federation/v1/query/directory
func (r *Remote) RoomOfAlias(ctx context.Context, alias matrix.RoomAlias) (matrix.RoomID, []matrix.ServerName, error) {
	var answer struct {
		Room    string   `json:"room_id"`
		Servers []string `json:"servers"`
	}
	server := alias.Server()
	err := r.client.Do(ctx, server, peer.Request{
		Method: "GET", Path: "/_matrix/federation/v1/query/directory", Query: url.Values{"room_alias": {string(alias)}},
		Into: &answer, Timeout: userTime,
	})
	if err != nil {
		return "", nil, toldUser(server, err)
	}
	room, err := matrix.ParseRoomID(answer.Room)
	if err != nil {
		return "", nil, matrix.NotFound("%s names no room for %s", server, alias)
	}
	var servers []matrix.ServerName
	for _, text := range answer.Servers[:min(len(answer.Servers), maxServers)] {
		if s, err := matrix.ParseServerName(text); err == nil && !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	if !slices.Contains(servers, server) { // it knows the room, so it may well be in it
		servers = append(servers, server)
	}
	return room, servers, nil
}

// RoomsQuery asks for a part of the directory of another server.
type RoomsQuery struct {
	Search      string
	Types       []*string
	Since       string
	Limit       int
	AllNetworks bool
	Network     string
}

// RoomList is a part of the directory of another server.
type RoomList struct {
	Chunk []roomserver.RoomEntry
	Next  string
	Prev  string
	Total int
}

type roomFilter struct {
	Search string    `json:"generic_search_term,omitempty"`
	Types  []*string `json:"room_types,omitempty"`
}

type roomsRequest struct {
	Limit       int         `json:"limit,omitempty"`
	Since       string      `json:"since,omitempty"`
	Filter      *roomFilter `json:"filter,omitempty"`
	AllNetworks bool        `json:"include_all_networks,omitempty"`
	Network     string      `json:"third_party_instance_id,omitempty"`
}

// PublicRooms lists the directory of another server. Entries that are no rooms are left out.
//
// Spec: GET /_matrix/federation/v1/publicRooms, POST /_matrix/federation/v1/publicRooms
func (r *Remote) PublicRooms(ctx context.Context, server matrix.ServerName, q RoomsQuery) (*RoomList, error) {
	var answer struct {
		Chunk []json.RawMessage `json:"chunk"`
		Next  string            `json:"next_batch"`
		Prev  string            `json:"prev_batch"`
		Total int               `json:"total_room_count_estimate"`
	}
	request := peer.Request{Method: "GET", Path: "/_matrix/federation/v1/publicRooms", Into: &answer, Limit: 4 << 20, Timeout: userTime}
	if q.Search != "" || len(q.Types) > 0 {
		request.Method, request.Body = "POST", roomsRequest{q.Limit, q.Since, &roomFilter{q.Search, q.Types}, q.AllNetworks, q.Network}
	} else {
		request.Query = roomsQueryOf(q)
	}
	if err := r.client.Do(ctx, server, request); err != nil {
		return nil, toldUser(server, err)
	}
	list := &RoomList{Chunk: []roomserver.RoomEntry{}, Next: answer.Next, Prev: answer.Prev, Total: answer.Total}
	for _, raw := range answer.Chunk {
		var e roomserver.RoomEntry
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		if _, err := matrix.ParseRoomID(string(e.RoomID)); err == nil {
			list.Chunk = append(list.Chunk, e)
		}
	}
	return list, nil
}

func roomsQueryOf(q RoomsQuery) url.Values {
	v := url.Values{}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Since != "" {
		v.Set("since", q.Since)
	}
	if q.AllNetworks {
		v.Set("include_all_networks", "true")
	}
	if q.Network != "" {
		v.Set("third_party_instance_id", q.Network)
	}
	return v
}
