package clientapi

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"astrocyte/delayed"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) delayedRoutes(r *httpapi.Router) {
	const (
		leave    = "/rooms/{roomID}/delayed_event/{eventType}/{txnID}"
		events   = "/_matrix/client/v1/delayed_events"
		unstable = "/_matrix/client/unstable/org.matrix.msc4140"
	)
	message, small := httpapi.Limit("message"), httpapi.Limit("ephemeral")
	r.Handle("PUT", "/_matrix/client/v3"+leave, httpapi.Authed(a.delayEvent), message, httpapi.NotSuspended(), httpapi.GuestsToo())
	r.Handle("PUT", unstable+leave, httpapi.Authed(a.delayEvent), message, httpapi.NotSuspended(), httpapi.GuestsToo())
	r.Handle("GET", events, httpapi.Authed(a.delayedEvents), small, httpapi.GuestsToo())
	r.Handle("GET", events+"/{delayID}", httpapi.Authed(a.delayedEvent), small, httpapi.GuestsToo())
	r.Handle("POST", events+"/{delayID}/{action}", httpapi.Authed(a.manageDelayed), small, httpapi.GuestsToo())
	r.Handle("GET", unstable+"/delayed_events", httpapi.Authed(a.delayedEvents), small, httpapi.GuestsToo())
	r.Handle("GET", unstable+"/delayed_events/{delayID}", httpapi.Authed(a.delayedEvent), small, httpapi.GuestsToo())
	// Who knows the id may manage the event, so it is kept out of the log.
	r.Handle("POST", unstable+"/delayed_events/{delayID}/{action}", httpapi.Open(a.manageByID), small, httpapi.NoLog())
	r.Handle("POST", unstable+"/delayed_events/{delayID}", httpapi.Open(a.manageByID), small, httpapi.NoLog())
}

type delayEventRequest struct {
	RoomID    matrix.RoomID   `path:"roomID"`
	EventType string          `path:"eventType"`
	TxnID     string          `path:"txnID"`
	Timestamp *int64          `query:"ts"`
	Sticky    *int64          `query:"org.matrix.msc4354.sticky_duration_ms"`
	Delay     int64           `json:"delay_ms" required:"true"`
	StateKey  *string         `json:"state_key"`
	Content   json.RawMessage `json:"content" required:"true"`
}

type delayResponse struct {
	DelayID string `json:"delay_id"`
}

// delayEvent leaves an event to be sent later.
//
// Extension: PUT /_matrix/client/v3/rooms/{roomId}/delayed_event/{eventType}/{txnId}
// Extension: PUT /_matrix/client/unstable/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}
func (a *API) delayEvent(ctx context.Context, c *httpapi.Caller, q *delayEventRequest) (*delayResponse, error) {
	if len(q.Content) == 0 || q.Content[0] != '{' {
		return nil, matrix.BadJSON("content must be an object")
	}
	sticky, err := stickyFor(q.Sticky)
	if err == nil && sticky > 0 && q.StateKey != nil {
		err = matrix.InvalidParam("state events cannot be sent as sticky ones")
	}
	if err != nil {
		return nil, err
	}
	e := delayed.Event{
		Sticky: sticky,
		Scope:  "delayed_event/" + string(q.RoomID) + "/" + q.EventType, Txn: q.TxnID,
		Room: q.RoomID, Type: q.EventType, StateKey: q.StateKey, Content: q.Content,
	}
	id, err := a.delayed.Schedule(ctx, a.leftBy(c, e, q.Timestamp, q.Delay))
	if err != nil {
		return nil, err
	}
	return &delayResponse{id}, nil
}

// leftBy completes an event that the caller leaves to be sent later.
func (a *API) leftBy(c *httpapi.Caller, e delayed.Event, ts *int64, delay int64) delayed.Event {
	e.User, e.Device, e.Unlimited, e.Timestamp = c.User, c.Device, c.Unlimited, massaged(c, ts)
	e.Delay = time.Duration(min(max(delay, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	return e
}

// delayOld leaves an event to be sent later that came to an endpoint that sends at once, with a delay in its
// query. Clients of this form look for the longest delay in the error.
func (a *API) delayOld(ctx context.Context, c *httpapi.Caller, e delayed.Event, ts *int64, delay int64) (*sendResponse, error) {
	if longest := a.delayed.Limits().MaxDelay; delay > time.Duration(longest).Milliseconds() {
		return nil, matrix.E(matrix.CodeUnknown, "the delay is too long").WithStatus(400).
			With("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED").
			With("org.matrix.msc4140.max_delay", time.Duration(longest).Milliseconds())
	}
	id, err := a.delayed.Schedule(ctx, a.leftBy(c, e, ts, delay))
	if err != nil {
		return nil, err
	}
	return &sendResponse{DelayID: id}, nil
}

type manageDelayedRequest struct {
	DelayID string `path:"delayID"`
	Action  string `path:"action"`
}

// manageDelayed sends, cancels or restarts an event that the caller left to be sent later.
//
// Extension: POST /_matrix/client/v1/delayed_events/{delayId}/{action}
func (a *API) manageDelayed(ctx context.Context, c *httpapi.Caller, q *manageDelayedRequest) (*nothing, error) {
	return nil, a.manage(ctx, c.User, q.DelayID, q.Action)
}

type manageByIDRequest struct {
	DelayID string `path:"delayID"`
	Action  string `path:"action"`
	Old     string `json:"action"`
}

// manageByID does the same for whoever knows the id of the event: a call service that sees its user
// drop out has no token of theirs.
//
// Extension: POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}
// Extension: POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}
func (a *API) manageByID(ctx context.Context, _ *httpapi.Caller, q *manageByIDRequest) (*nothing, error) {
	if q.Action == "" {
		if q.Old == "" {
			return nil, matrix.MissingParam("the member action is missing")
		}
		q.Action = q.Old
	}
	return nil, a.manage(ctx, "", q.DelayID, q.Action)
}

func (a *API) manage(ctx context.Context, by matrix.UserID, id, action string) error {
	switch action {
	case "send":
		return a.delayed.Send(ctx, by, id)
	case "cancel":
		return a.delayed.Cancel(ctx, by, id)
	case "restart":
		return a.delayed.Restart(ctx, by, id)
	}
	return matrix.NotFound("a delayed event can be sent, cancelled and restarted")
}

type delayedEventsResponse struct {
	Events []delayedEvent `json:"delayed_events"`
}

// delayedEvent is an event that is to be sent later, or was.
type delayedEvent struct {
	ID       string          `json:"delay_id"`
	Room     matrix.RoomID   `json:"room_id"`
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key,omitempty"`
	Delay    int64           `json:"delay_ms"`
	Since    int64           `json:"scheduled_at"`
	Content  json.RawMessage `json:"content"`
	Ended    int64           `json:"finalised_ts,omitempty"`
	EventID  matrix.EventID  `json:"event_id,omitempty"`
	Error    json.RawMessage `json:"error,omitempty"`

	OldDelay int64 `json:"delay"` // what the last two were called before
	OldSince int64 `json:"running_since"`
}

func shownDelayed(e delayed.Event) delayedEvent {
	ms := e.Delay.Milliseconds()
	return delayedEvent{
		ID: e.ID, Room: e.Room, Type: e.Type, StateKey: e.StateKey, Delay: ms, Since: e.Since, Content: e.Content,
		Ended: e.Ended, EventID: e.Sent, Error: e.Failed, OldDelay: ms, OldSince: e.Since,
	}
}

// delayedEvents lists what the caller left to be sent later and waits.
//
// Extension: GET /_matrix/client/v1/delayed_events
// Extension: GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events
func (a *API) delayedEvents(ctx context.Context, c *httpapi.Caller, _ *none) (*delayedEventsResponse, error) {
	events, err := a.delayed.Waiting(ctx, c.User)
	if err != nil {
		return nil, err
	}
	out := &delayedEventsResponse{Events: make([]delayedEvent, 0, len(events))}
	for _, e := range events {
		out.Events = append(out.Events, shownDelayed(e))
	}
	return out, nil
}

type delayedEventRequest struct {
	DelayID string `path:"delayID"`
}

// delayedEvent tells what became of an event that the caller left to be sent later.
//
// Extension: GET /_matrix/client/v1/delayed_events/{delayId}
// Extension: GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}
func (a *API) delayedEvent(ctx context.Context, c *httpapi.Caller, q *delayedEventRequest) (*delayedEvent, error) {
	e, err := a.delayed.Event(ctx, c.User, q.DelayID)
	if err != nil {
		return nil, err
	}
	shown := shownDelayed(e)
	return &shown, nil
}
