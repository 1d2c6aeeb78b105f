package clientapi

import (
	"context"

	"astrocyte/federation/sender"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) adminFederationRoutes(r *httpapi.Router) {
	const path = "/_synapse/admin/v1/federation/destinations"
	admins := httpapi.AdminsOnly()
	r.Handle("GET", path, httpapi.Authed(a.adminDestinations), admins)
	r.Handle("GET", path+"/{destination}", httpapi.Authed(a.adminDestination), admins)
	r.Handle("GET", path+"/{destination}/rooms", httpapi.Authed(a.adminDestinationRooms), admins)
	r.Handle("POST", path+"/{destination}/reset_connection", httpapi.Authed(a.adminResetConnection), admins)
}

// errAlone says that this server speaks with no other.
var errAlone = matrix.NotFound("this server does not federate")

// adminDestinationEntry is a server that is sent to. Times are milliseconds.
type adminDestinationEntry struct {
	Server    matrix.ServerName `json:"destination"`
	LastRetry int64             `json:"retry_last_ts"`
	Interval  int64             `json:"retry_interval"`
	Failing   *int64            `json:"failure_ts"`
	Reached   int64             `json:"last_successful_ts"`
	Failure   string            `json:"failure,omitempty"`
	RetryAt   int64             `json:"retry_at_ts,omitempty"`
	Waiting   int64             `json:"waiting_rooms"`
	Since     *int64            `json:"waiting_since_ts"`
}

func newAdminDestination(d sender.Destination) *adminDestinationEntry {
	e := &adminDestinationEntry{
		Server: d.Server, Interval: d.Pause, Reached: d.Reached, Failure: d.Failure, RetryAt: d.RetryAt, Waiting: d.Waiting,
	}
	if d.Failing != 0 {
		e.Failing, e.LastRetry = &d.Failing, max(d.RetryAt-d.Pause, d.Failing)
	}
	if d.Since != 0 {
		e.Since = &d.Since
	}
	return e
}

type adminDestinationsRequest struct {
	From    int64  `query:"from"`
	Limit   *int64 `query:"limit"`
	Name    string `query:"destination"`
	Failing bool   `query:"failing"`
}

type adminDestinationsResponse struct {
	Destinations []*adminDestinationEntry `json:"destinations"`
	Total        int64                    `json:"total"`
	Next         *string                  `json:"next_token,omitempty"`
}

// adminDestinations lists the servers to which something was to be sent, in the order of their names: all, those
// whose name has a part, or those that are not reached.
//
// Extension: GET /_synapse/admin/v1/federation/destinations
func (a *API) adminDestinations(ctx context.Context, _ *httpapi.Caller, q *adminDestinationsRequest) (*adminDestinationsResponse, error) {
	p := page{q.From, q.Limit}
	from, limit, err := p.bounds()
	if err != nil {
		return nil, err
	}
	if a.sender == nil {
		return nil, errAlone
	}
	all, total, err := a.sender.Destinations(ctx, sender.Query{Name: q.Name, Failing: q.Failing, From: from, Limit: limit})
	if err != nil {
		return nil, err
	}
	answer := &adminDestinationsResponse{Destinations: make([]*adminDestinationEntry, len(all)), Total: total}
	for i, d := range all {
		answer.Destinations[i] = newAdminDestination(d)
	}
	answer.Next = p.next(len(all), total)
	return answer, nil
}

type adminDestinationRequest struct {
	Server matrix.ServerName `path:"destination"`
}

// adminDestination tells of a server to which something was to be sent.
//
// Extension: GET /_synapse/admin/v1/federation/destinations/{destination}
func (a *API) adminDestination(ctx context.Context, _ *httpapi.Caller, q *adminDestinationRequest) (*adminDestinationEntry, error) {
	if a.sender == nil {
		return nil, errAlone
	}
	d, err := a.sender.Destination(ctx, q.Server)
	if err != nil {
		return nil, err
	}
	return newAdminDestination(d), nil
}

type adminDestinationRoomsRequest struct {
	Server matrix.ServerName `path:"destination"`
	From   int64             `query:"from"`
	Limit  *int64            `query:"limit"`
}

// adminDestinationRoom is a room of which a server has not been sent everything: from a place of its timeline to
// another.
type adminDestinationRoom struct {
	RoomID matrix.RoomID `json:"room_id"`
	From   int64         `json:"from_seq"`
	Upto   int64         `json:"upto_seq"`
	Queued int64         `json:"waiting_since_ts"`
}

type adminDestinationRoomsResponse struct {
	Rooms []adminDestinationRoom `json:"rooms"`
	Total int64                  `json:"total"`
	Next  *string                `json:"next_token,omitempty"`
}

// adminDestinationRooms lists the rooms of which a server has not been sent everything.
//
// Extension: GET /_synapse/admin/v1/federation/destinations/{destination}/rooms
func (a *API) adminDestinationRooms(ctx context.Context, _ *httpapi.Caller, q *adminDestinationRoomsRequest) (*adminDestinationRoomsResponse, error) {
	p := page{q.From, q.Limit}
	from, limit, err := p.bounds()
	if err != nil {
		return nil, err
	}
	if a.sender == nil {
		return nil, errAlone
	}
	rooms, total, err := a.sender.DestinationRooms(ctx, q.Server, from, limit)
	if err != nil {
		return nil, err
	}
	answer := &adminDestinationRoomsResponse{Rooms: make([]adminDestinationRoom, len(rooms)), Total: total}
	for i, r := range rooms {
		answer.Rooms[i] = adminDestinationRoom{RoomID: r.Room, From: r.From, Upto: r.Upto, Queued: r.Queued}
	}
	answer.Next = p.next(len(rooms), total)
	return answer, nil
}

// adminResetConnection has a server tried at once that is left alone, as it was not reached.
//
// Extension: POST /_synapse/admin/v1/federation/destinations/{destination}/reset_connection
func (a *API) adminResetConnection(ctx context.Context, _ *httpapi.Caller, q *adminDestinationRequest) (*none, error) {
	if a.sender == nil {
		return nil, errAlone
	}
	left, err := a.sender.Retry(ctx, q.Server)
	if err == nil && !left {
		err = matrix.E(matrix.CodeUnknown, "%s is not left alone: there is nothing to reset", q.Server).WithStatus(400)
	}
	return nil, err
}
