package clientapi

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) relationRoutes(r *httpapi.Router) {
	const room = "/_matrix/client/v1/rooms/{roomID}/"
	for _, relations := range []string{room + "relations/{eventID}", "/_matrix/client/unstable/rooms/{roomID}/relations/{eventID}"} {
		r.Handle("GET", relations, httpapi.Authed(a.relations), httpapi.GuestsToo())
		r.Handle("GET", relations+"/{relType}", httpapi.Authed(a.relations), httpapi.GuestsToo())
		r.Handle("GET", relations+"/{relType}/{eventType}", httpapi.Authed(a.relations), httpapi.GuestsToo())
	}
	r.Handle("GET", room+"threads", httpapi.Authed(a.threads), httpapi.GuestsToo())
}

type relationsRequest struct {
	RoomID    matrix.RoomID  `path:"roomID"`
	EventID   matrix.EventID `path:"eventID"`
	RelType   string         `path:"relType"`
	EventType string         `path:"eventType"`
	From      string         `query:"from"`
	To        string         `query:"to"`
	Dir       string         `query:"dir"`
	Limit     *int           `query:"limit"`
	Recurse   *bool          `query:"recurse"`
}

type relationsResponse struct {
	Chunk []*roomserver.ClientEvent `json:"chunk"`
	Next  string                    `json:"next_batch,omitempty"`
	Prev  string                    `json:"prev_batch,omitempty"`
	Depth int                       `json:"recursion_depth,omitempty"`
}

// relations reads a page of the events that are about one. Bots ask for it by the path that it had before it was specified.
//
// Extension: GET /_matrix/client/unstable/rooms/{roomId}/relations/{eventId}
// Extension: GET /_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}
// Extension: GET /_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}
// Spec: GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}
// Spec: GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}
func (a *API) relations(ctx context.Context, c *httpapi.Caller, q *relationsRequest) (*relationsResponse, error) {
	if q.Dir != "" && q.Dir != "b" && q.Dir != "f" {
		return nil, matrix.InvalidParam("dir must be b or f")
	}
	limit, err := positiveLimit(q.Limit)
	if err != nil {
		return nil, err
	}
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &relationsResponse{Prev: q.From}
	recurse := q.Recurse != nil && *q.Recurse
	switch {
	case recurse:
		out.Depth = roomserver.RecursionDepth
	case q.Recurse != nil:
		out.Depth = 1
	}
	page, err := a.rooms.Relations(ctx, v, roomserver.Children{
		Page: roomserver.Page{
			Room: q.RoomID, From: q.From, To: q.To, Backward: q.Dir != "f", Limit: limit, Position: a.position,
		},
		Event: q.EventID, Kind: q.RelType, Type: q.EventType, Recurse: recurse,
	})
	if err != nil {
		return nil, err
	}
	out.Chunk, out.Next = orEmpty(page.Events), page.End
	return out, nil
}

// positiveLimit is how many entries a page has where the specification wants a limit above zero.
func positiveLimit(limit *int) (int, error) {
	if limit == nil {
		return pageDefault, nil
	}
	if *limit < 1 {
		return 0, matrix.InvalidParam("limit must be greater than 0")
	}
	return min(*limit, pageMost), nil
}

type threadsRequest struct {
	RoomID  matrix.RoomID `path:"roomID"`
	Include string        `query:"include"`
	Limit   *int          `query:"limit"`
	From    string        `query:"from"`
}

type threadsResponse struct {
	Chunk []*roomserver.ClientEvent `json:"chunk"`
	Next  string                    `json:"next_batch,omitempty"`
}

// threads lists the roots of a room's threads.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/threads
func (a *API) threads(ctx context.Context, c *httpapi.Caller, q *threadsRequest) (*threadsResponse, error) {
	if q.Include != "" && q.Include != "all" && q.Include != "participated" {
		return nil, matrix.InvalidParam("include must be all or participated")
	}
	limit, err := positiveLimit(q.Limit)
	if err != nil {
		return nil, err
	}
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	page, err := a.rooms.Threads(ctx, v, roomserver.Page{
		Room: q.RoomID, From: q.From, Limit: limit, Position: a.position,
	}, q.Include == "participated")
	if err != nil {
		return nil, err
	}
	return &threadsResponse{Chunk: orEmpty(page.Events), Next: page.End}, nil
}
