package clientapi

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) adminGraphRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	r.Handle("GET", synapseV1+"rooms/{roomIDOrAlias}/forward_extremities", httpapi.Authed(a.adminExtremities), admins)
	r.Handle("DELETE", synapseV1+"rooms/{roomIDOrAlias}/forward_extremities", httpapi.Authed(a.adminMergeExtremities), admins)
	r.Handle("GET", synapseV1+"rooms/{roomID}/hierarchy", httpapi.Authed(a.adminHierarchy), admins)
	r.Handle("GET", synapseV1+"users/{userID}/sent_invite_count", httpapi.Authed(a.adminInvites), admins)
	r.Handle("GET", synapseV1+"users/{userID}/cumulative_joined_room_count", httpapi.Authed(a.adminJoins), admins)
}

type adminExtremitiesRequest struct {
	Room string `path:"roomIDOrAlias"`
}

type adminExtremity struct {
	EventID  matrix.EventID `json:"event_id"`
	State    int64          `json:"state_group"`
	Depth    int64          `json:"depth"`
	Received int64          `json:"received_ts"` // as the event says: it is not noted when it came
}

type adminExtremitiesResponse struct {
	Count   int              `json:"count"`
	Results []adminExtremity `json:"results"`
}

// adminExtremities lists the events of a room that no other follows yet.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomIdOrAlias}/forward_extremities
func (a *API) adminExtremities(ctx context.Context, _ *httpapi.Caller, q *adminExtremitiesRequest) (*adminExtremitiesResponse, error) {
	id, err := a.roomNamed(ctx, q.Room)
	if err != nil {
		return nil, err
	}
	list, err := a.rooms.Extremities(ctx, id)
	if err != nil {
		return nil, err
	}
	answer := &adminExtremitiesResponse{Count: len(list), Results: make([]adminExtremity, len(list))}
	for i, x := range list {
		answer.Results[i] = adminExtremity{x.Event.ID(), x.Snap, x.Event.Depth(), x.Event.OriginServerTS()}
	}
	return answer, nil
}

type adminMergedResponse struct {
	Deleted int `json:"deleted"`
}

// adminMergeExtremities has an event follow all events of a room that no other follows yet. None is dropped, which
// would make this server see another state of the room than others do.
//
// Extension: DELETE /_synapse/admin/v1/rooms/{roomIdOrAlias}/forward_extremities
func (a *API) adminMergeExtremities(ctx context.Context, _ *httpapi.Caller, q *adminExtremitiesRequest) (*adminMergedResponse, error) {
	id, err := a.roomNamed(ctx, q.Room)
	if err != nil {
		return nil, err
	}
	less, err := a.rooms.MergeExtremities(ctx, id)
	return &adminMergedResponse{less}, err
}

// adminHierarchy lists the rooms below a space that this server is in, also those that the administrator could not enter.
//
// Extension: GET /_synapse/admin/v1/rooms/{roomId}/hierarchy
func (a *API) adminHierarchy(ctx context.Context, _ *httpapi.Caller, q *hierarchyRequest) (*hierarchyResponse, error) {
	h, err := q.query()
	if err != nil {
		return nil, err
	}
	h.Here = true
	return a.spaceOf(ctx, roomserver.Overseer, h)
}

type adminTallyRequest struct {
	User  matrix.UserID `path:"userID"`
	Since *int64        `query:"from_ts" required:"true"`
}

func (a *API) tally(ctx context.Context, q *adminTallyRequest) (t roomserver.Tally, err error) {
	if *q.Since < 0 {
		return t, matrix.InvalidParam("from_ts cannot be negative")
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return t, err
	}
	return a.rooms.Tally(ctx, q.User, *q.Since)
}

type adminInvitesResponse struct {
	Count int `json:"invite_count"`
}

// adminInvites counts the invites that a user has sent since a time.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/sent_invite_count
func (a *API) adminInvites(ctx context.Context, _ *httpapi.Caller, q *adminTallyRequest) (*adminInvitesResponse, error) {
	t, err := a.tally(ctx, q)
	return &adminInvitesResponse{t.Invites}, err
}

type adminJoinsResponse struct {
	Count int `json:"cumulative_joined_room_count"`
}

// adminJoins counts the rooms that a user has entered since a time, also those that they have left again.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/cumulative_joined_room_count
func (a *API) adminJoins(ctx context.Context, _ *httpapi.Caller, q *adminTallyRequest) (*adminJoinsResponse, error) {
	t, err := a.tally(ctx, q)
	return &adminJoinsResponse{t.Joins}, err
}
