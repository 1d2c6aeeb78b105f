package federation

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

func (a *API) eventRoutes(r *httpapi.Router) {
	const v1 = "/_matrix/federation/v1"
	r.Handle("GET", v1+"/event/{eventID}", httpapi.Signed(a.event))
	r.Handle("GET", v1+"/event_auth/{roomID}/{eventID}", httpapi.RawSigned(a.eventAuth), httpapi.PerServer("rooms"))
	r.Handle("GET", v1+"/backfill/{roomID}", httpapi.Signed(a.backfill), httpapi.PerServer("rooms"))
	r.Handle("POST", v1+"/get_missing_events/{roomID}", httpapi.Signed(a.missingEvents), httpapi.PerServer("rooms"))
}

// eventsResponse is a transaction of some events.
type eventsResponse struct {
	Origin matrix.ServerName `json:"origin"`
	TS     int64             `json:"origin_server_ts"`
	PDUs   []json.RawMessage `json:"pdus"`
}

func (a *API) someEvents(events ...*rules.Event) *eventsResponse {
	return &eventsResponse{Origin: a.server, TS: a.now().UnixMilli(), PDUs: pdus(events)}
}

func pdus(events []*rules.Event) []json.RawMessage {
	out := make([]json.RawMessage, len(events))
	for i, e := range events {
		out[i] = e.Bytes()
	}
	return out
}

type eventRequest struct {
	Event matrix.EventID `path:"eventID"`
}

// event gives one event of a room that the server is in.
//
// Spec: GET /_matrix/federation/v1/event/{eventId}
func (a *API) event(ctx context.Context, c *httpapi.Caller, q *eventRequest) (*eventsResponse, error) {
	e, err := a.rooms.EventFor(ctx, q.Event, c.Origin)
	if err != nil {
		return nil, err
	}
	return a.someEvents(e), nil
}

// The most events that are given at once.
const (
	backfillMost       = 100
	missingMost        = 20
	missingDefault     = 10
	walkBeginningsMost = 100
)

type backfillRequest struct {
	Room  matrix.RoomID `path:"roomID"`
	From  []string      `query:"v"`
	Limit int           `query:"limit" required:"true"`
}

// backfill gives events and those before them.
//
// Spec: GET /_matrix/federation/v1/backfill/{roomId}
func (a *API) backfill(ctx context.Context, c *httpapi.Caller, q *backfillRequest) (*eventsResponse, error) {
	if len(q.From) == 0 || len(q.From) > walkBeginningsMost {
		return nil, matrix.InvalidParam("v names 1 to %d events", walkBeginningsMost)
	}
	if q.Limit < 1 {
		return nil, matrix.InvalidParam("limit must be at least 1")
	}
	from := make([]matrix.EventID, len(q.From))
	for i, id := range q.From {
		from[i] = matrix.EventID(id)
	}
	events, err := a.rooms.Earlier(ctx, roomserver.Walk{
		Room: q.Room, Asks: c.Origin, From: from, With: true, Limit: min(q.Limit, backfillMost),
	})
	if err != nil {
		return nil, err
	}
	return a.someEvents(events...), nil
}

type missingRequest struct {
	Room     matrix.RoomID    `path:"roomID"`
	Earliest []matrix.EventID `json:"earliest_events" required:"true"`
	Latest   []matrix.EventID `json:"latest_events" required:"true"`
	Limit    *int             `json:"limit"`
	MinDepth int64            `json:"min_depth"`
}

type missingResponse struct {
	Events []json.RawMessage `json:"events"`
}

// missingEvents gives the events between some that the server knows.
//
// Spec: POST /_matrix/federation/v1/get_missing_events/{roomId}
func (a *API) missingEvents(ctx context.Context, c *httpapi.Caller, q *missingRequest) (*missingResponse, error) {
	if len(q.Earliest) > walkBeginningsMost || len(q.Latest) > walkBeginningsMost {
		return nil, matrix.InvalidParam("more than %d events are named", walkBeginningsMost)
	}
	limit := missingDefault
	if q.Limit != nil {
		limit = min(*q.Limit, missingMost)
	}
	events, err := a.rooms.Earlier(ctx, roomserver.Walk{
		Room: q.Room, Asks: c.Origin, From: q.Latest, Until: q.Earliest, MinDepth: q.MinDepth, Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	out := pdus(events)
	for i, k := 0, len(out)-1; i < k; i, k = i+1, k-1 { // the earliest first
		out[i], out[k] = out[k], out[i]
	}
	return &missingResponse{Events: out}, nil
}
