package federation

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) timeRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/timestamp_to_event/{roomID}", httpapi.Signed(a.eventByTime))
}

type byTimeRequest struct {
	Room matrix.RoomID `path:"roomID"`
	TS   *int64        `query:"ts" required:"true"`
	Dir  string        `query:"dir" required:"true"`
}

type byTimeResponse struct {
	EventID        matrix.EventID `json:"event_id"`
	OriginServerTS int64          `json:"origin_server_ts"`
}

// eventByTime finds the event that is nearest to a time.
//
// Spec: GET /_matrix/federation/v1/timestamp_to_event/{roomId}
func (a *API) eventByTime(ctx context.Context, c *httpapi.Caller, q *byTimeRequest) (*byTimeResponse, error) {
	if q.Dir != "b" && q.Dir != "f" {
		return nil, matrix.InvalidParam("dir must be b or f")
	}
	e, err := a.rooms.EventByTimeFor(ctx, c.Origin, q.Room, *q.TS, q.Dir == "b")
	if err != nil {
		return nil, err
	}
	return &byTimeResponse{EventID: e.ID(), OriginServerTS: e.OriginServerTS()}, nil
}
