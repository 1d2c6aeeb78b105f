package homeserver

import (
	"context"

	"astrocyte/federation/remote"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// roomControl has what the command line asks about rooms.
func (s *Server) roomControl(r *httpapi.Router) {
	r.Handle("POST", "/rooms/doctor", httpapi.Open(s.examineRoom))
}

// ControlDoctor asks how the state of a room here differs from that of other servers.
type ControlDoctor struct {
	Room    matrix.RoomID       `json:"room" required:"true"`
	Servers []matrix.ServerName `json:"servers"` // none: some of those in the room
	Repair  bool                `json:"repair"`
}

// examineRoom compares the state of a room with that of other servers, and repairs it where that is wished.
//
// Extension: POST /rooms/doctor, at the control socket
func (s *Server) examineRoom(ctx context.Context, _ *httpapi.Caller, q *ControlDoctor) (*remote.Diagnosis, error) {
	return s.remote.Examine(ctx, q.Room, q.Servers, q.Repair)
}
