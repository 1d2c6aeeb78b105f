package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/delayed"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

func (a *API) sendRoutes(r *httpapi.Router) {
	const room = "/rooms/{roomID}/"
	message := httpapi.Limit("message")
	v3(r, "PUT", room+"send/{eventType}/{txnID}", httpapi.Authed(a.sendMessage), message, httpapi.GuestsToo())
	v3(r, "PUT", room+"state/{eventType}/{stateKey}", httpapi.Authed(a.sendState), message, httpapi.NotSuspended())
	v3(r, "PUT", room+"state/{eventType}", httpapi.Authed(a.sendState), message, httpapi.NotSuspended(), httpapi.TrailingSlash())
	v3(r, "PUT", room+"redact/{eventID}/{txnID}", httpapi.Authed(a.redact), message)
}

type sendRequest struct {
	RoomID    matrix.RoomID   `path:"roomID"`
	EventType string          `path:"eventType"`
	TxnID     string          `path:"txnID"`
	Timestamp *int64          `query:"ts"`
	Delay     *int64          `query:"org.matrix.msc4140.delay"`
	Sticky    *int64          `query:"org.matrix.msc4354.sticky_duration_ms"`
	Content   json.RawMessage `body:"whole,optional"`
}

type sendResponse struct {
	EventID matrix.EventID `json:"event_id,omitempty"`
	DelayID string         `json:"delay_id,omitempty"` // in place of it, where the event is sent later
}

// sendMessage sends a message event into a room.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}
func (a *API) sendMessage(ctx context.Context, c *httpapi.Caller, q *sendRequest) (*sendResponse, error) {
	if c.Suspended && (q.EventType != "m.room.redaction" || q.Delay != nil) {
		return nil, matrix.E(matrix.CodeUserSuspended, "this account is suspended")
	}
	sticky, err := stickyFor(q.Sticky)
	if err != nil {
		return nil, err
	}
	scope := "send/" + string(q.RoomID) + "/" + q.EventType
	if q.Delay != nil {
		e := delayed.Event{Scope: scope, Txn: q.TxnID, Room: q.RoomID, Type: q.EventType, Content: q.Content, Sticky: sticky}
		return a.delayOld(ctx, c, e, q.Timestamp, *q.Delay)
	}
	if q.Content == nil {
		return nil, matrix.E(matrix.CodeNotJSON, "the body is missing")
	}
	d := roomserver.Draft{
		Room: q.RoomID, Sender: c.User, Type: q.EventType, Content: q.Content, Timestamp: massaged(c, q.Timestamp),
		Txn: &roomserver.Txn{Device: c.Device, Scope: scope, ID: q.TxnID}, Suspended: c.Suspended, Shadowed: c.Shadowed, Sticky: sticky,
	}
	if err := d.FindRedacts(); err != nil {
		return nil, err
	}
	a.ephemeral.Acted(ctx, c.User)
	return sent(a.rooms.Send(ctx, d))
}

// stickyFor is for how many milliseconds a client wants an event to be sticky.
//
// Spec: MSC4354.
func stickyFor(ms *int64) (int64, error) {
	if ms == nil {
		return 0, nil
	}
	if *ms < 0 || *ms > rules.MaxSticky {
		return 0, matrix.InvalidParam("an event is sticky for 0 to %d milliseconds", rules.MaxSticky)
	}
	return *ms, nil
}

func sent(id matrix.EventID, err error) (*sendResponse, error) {
	if err != nil {
		return nil, err
	}
	return &sendResponse{EventID: id}, nil
}

// massaged is the time that an application service gives an event, 0 for others.
//
// Spec: AS "Timestamp massaging".
func massaged(c *httpapi.Caller, ts *int64) int64 {
	if c.AppService == nil || ts == nil {
		return 0
	}
	return *ts
}

type sendStateRequest struct {
	RoomID    matrix.RoomID   `path:"roomID"`
	EventType string          `path:"eventType"`
	StateKey  string          `path:"stateKey"`
	Timestamp *int64          `query:"ts"`
	Delay     *int64          `query:"org.matrix.msc4140.delay"`
	Content   json.RawMessage `body:"whole"`
}

// sendState sends a state event into a room.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}
func (a *API) sendState(ctx context.Context, c *httpapi.Caller, q *sendStateRequest) (*sendResponse, error) {
	if q.Delay != nil {
		e := delayed.Event{Room: q.RoomID, Type: q.EventType, StateKey: &q.StateKey, Content: q.Content}
		return a.delayOld(ctx, c, e, q.Timestamp, *q.Delay)
	}
	if change, is := a.invitesElsewhere(c, q); is && !c.Shadowed {
		return sent(a.remote.Invite(ctx, change))
	}
	return sent(a.rooms.Send(ctx, roomserver.Draft{
		Room: q.RoomID, Sender: c.User, Type: q.EventType, StateKey: &q.StateKey, Content: q.Content,
		Timestamp: massaged(c, q.Timestamp), Shadowed: c.Shadowed,
	}))
}

// invitesElsewhere says whether a state event is the invite of a user of another server, whose server signs it too.
func (a *API) invitesElsewhere(c *httpapi.Caller, q *sendStateRequest) (change roomserver.Change, is bool) {
	target := matrix.UserID(q.StateKey)
	if q.EventType != "m.room.member" || target.Server() == a.server {
		return change, false
	}
	change = roomserver.Change{Room: q.RoomID, Sender: c.User, Target: target, Membership: matrix.Invite}
	var membership matrix.Membership
	if json.Unmarshal(q.Content, &change.Extra) != nil || json.Unmarshal(change.Extra["membership"], &membership) != nil {
		return change, false
	}
	return change, membership == matrix.Invite
}

type redactRequest struct {
	RoomID  matrix.RoomID  `path:"roomID"`
	EventID matrix.EventID `path:"eventID"`
	TxnID   string         `path:"txnID"`
	Reason  string         `json:"reason"`
	Related []string       `json:"with_rel_types"` // MSC3912
	OldName []string       `json:"org.matrix.msc3912.with_relations"`
}

// relatedMost bounds the kinds of relations that a redaction names.
const relatedMost = 50

// redact takes the content of an event away.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}
func (a *API) redact(ctx context.Context, c *httpapi.Caller, q *redactRequest) (*sendResponse, error) {
	related := append(q.Related, q.OldName...)
	if len(related) > relatedMost {
		return nil, matrix.InvalidParam("a redaction cannot name more than %d kinds of relations", relatedMost)
	}
	content := map[string]any{}
	if q.Reason != "" {
		content["reason"] = q.Reason
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return sent(a.rooms.Send(ctx, roomserver.Draft{
		Room: q.RoomID, Sender: c.User, Type: "m.room.redaction", Content: raw, Redacts: q.EventID, Related: related, Suspended: c.Suspended, Shadowed: c.Shadowed,
		Txn: &roomserver.Txn{Device: c.Device, Scope: "redact/" + string(q.RoomID) + "/" + string(q.EventID), ID: q.TxnID},
	}))
}
