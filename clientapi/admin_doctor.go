package clientapi

import (
	"context"

	"astrocyte/federation/remote"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) adminDoctorRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_astrocyte/admin/v1/rooms/{roomID}/doctor", httpapi.Authed(a.examineRoom), httpapi.AdminsOnly())
	r.Handle("POST", "/_astrocyte/admin/v1/rooms/{roomID}/doctor", httpapi.Authed(a.repairRoom), httpapi.AdminsOnly())
}

type doctorRequest struct {
	Room    matrix.RoomID `path:"roomID"`
	Servers []string      `query:"server"` // none: some of those in the room
}

func (q *doctorRequest) servers() ([]matrix.ServerName, error) {
	var out []matrix.ServerName
	for _, s := range q.Servers {
		name, err := matrix.ParseServerName(s)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}

// examineRoom compares the state of a room here with that of other servers in it.
//
// Extension: GET /_astrocyte/admin/v1/rooms/{roomId}/doctor
func (a *API) examineRoom(ctx context.Context, _ *httpapi.Caller, q *doctorRequest) (*remote.Diagnosis, error) {
	servers, err := q.servers()
	if err != nil {
		return nil, err
	}
	return a.remote.Examine(ctx, q.Room, servers, false)
}

// repairRoom compares the state of a room here with that of other servers in it, fetches what differs, and
// resolves the state with theirs.
//
// Extension: POST /_astrocyte/admin/v1/rooms/{roomId}/doctor
func (a *API) repairRoom(ctx context.Context, _ *httpapi.Caller, q *doctorRequest) (*remote.Diagnosis, error) {
	servers, err := q.servers()
	if err != nil {
		return nil, err
	}
	return a.remote.Examine(ctx, q.Room, servers, true)
}
