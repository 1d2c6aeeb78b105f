package federation

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) hierarchyRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/hierarchy/{roomID}", httpapi.Signed(a.hierarchy), httpapi.PerServer("rooms"))
}

type hierarchyRequest struct {
	Room      matrix.RoomID `path:"roomID"`
	Suggested bool          `query:"suggested_only"`
}

// hierarchy tells of a room, and where it is a space of its children.
//
// Spec: GET /_matrix/federation/v1/hierarchy/{roomId}
func (a *API) hierarchy(ctx context.Context, c *httpapi.Caller, q *hierarchyRequest) (*roomserver.SpaceForServer, error) {
	return a.rooms.SpaceFor(ctx, c.Origin, q.Room, q.Suggested)
}
