package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/ephemeral"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) receiptRoutes(r *httpapi.Router) {
	limit := httpapi.Limit("ephemeral")
	v3(r, "POST", "/rooms/{roomID}/receipt/{receiptType}/{eventID}", httpapi.Authed(a.sendReceipt), limit, httpapi.GuestsToo())
	v3(r, "POST", "/rooms/{roomID}/read_markers", httpapi.Authed(a.setReadMarkers), limit, httpapi.GuestsToo())
}

type receiptRequest struct {
	RoomID   matrix.RoomID   `path:"roomID"`
	Type     string          `path:"receiptType"`
	EventID  matrix.EventID  `path:"eventID"`
	ThreadID json.RawMessage `json:"thread_id"`
}

// sendReceipt says that the caller has read up to an event.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}
func (a *API) sendReceipt(ctx context.Context, c *httpapi.Caller, q *receiptRequest) (*none, error) {
	reading := ephemeral.Reading{User: c.User, Room: q.RoomID, Type: q.Type, Event: q.EventID}
	if q.ThreadID != nil {
		reading.Thread = new(string)
		if json.Unmarshal(q.ThreadID, &reading.Thread) != nil || reading.Thread == nil {
			return nil, matrix.InvalidParam("thread_id must be a non-empty string")
		}
	}
	return nil, a.ephemeral.Mark(ctx, reading)
}

type readMarkersRequest struct {
	RoomID      matrix.RoomID   `path:"roomID"`
	FullyRead   *matrix.EventID `json:"m.fully_read"`
	Read        *matrix.EventID `json:"m.read"`
	ReadPrivate *matrix.EventID `json:"m.read.private"`
}

// setReadMarkers moves the caller's marker and receipts in one go.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/read_markers
func (a *API) setReadMarkers(ctx context.Context, c *httpapi.Caller, q *readMarkersRequest) (*none, error) {
	var readings []ephemeral.Reading
	for _, m := range []struct {
		kind  string
		event *matrix.EventID
	}{{ephemeral.FullyRead, q.FullyRead}, {ephemeral.Read, q.Read}, {ephemeral.ReadPrivate, q.ReadPrivate}} {
		if m.event != nil {
			readings = append(readings, ephemeral.Reading{User: c.User, Room: q.RoomID, Type: m.kind, Event: *m.event})
		}
	}
	return nil, a.ephemeral.Mark(ctx, readings...)
}
