package homeserver

import (
	"context"
	"net/http"
	"strings"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
)

// mediaControl has what the command line asks about files.
func (s *Server) mediaControl(r *httpapi.Router) {
	r.Handle("POST", "/media/move", httpapi.Open(s.moveMedia))
	r.Handle("POST", "/media/delete", httpapi.Open(s.deleteMedia))
	r.Handle("POST", "/media/quarantine", httpapi.Open(s.quarantineMedia))
	r.Handle("POST", "/media/block", httpapi.Open(s.blockMedia))
}

type moveMediaRequest struct {
	To string `json:"to" required:"true"`
}

// moveMedia moves files between storages for a few seconds. What goes wrong is told: whoever may ask here
// is an administrator.
//
// Extension: POST /media/move, at the control socket
func (s *Server) moveMedia(ctx context.Context, _ *httpapi.Caller, q *moveMediaRequest) (*media.Moved, error) {
	moved, err := s.media.Move(ctx, q.To)
	if err != nil {
		return nil, matrix.E(matrix.CodeUnknown, "%v", err).WithStatus(http.StatusBadGateway)
	}
	return &moved, nil
}

// ControlMedia says which files a command is about: one by its URI or hash, or all of a user.
type ControlMedia struct {
	URI    string `json:"uri"`
	Hash   string `json:"hash"`
	User   string `json:"user"`
	Undo   bool   `json:"undo"`
	Reason string `json:"reason"`
}

// ControlMediaDone says what a command has done.
type ControlMediaDone struct {
	Files int    `json:"files"`
	Hash  string `json:"hash"`
}

func (q *ControlMedia) id() (media.ID, error) {
	origin, id, found := strings.Cut(strings.TrimPrefix(q.URI, "mxc://"), "/")
	if !found {
		return media.ID{}, matrix.InvalidParam("%.80q is not a URI such as mxc://example.org/abc", q.URI)
	}
	return media.ParseID(origin, id)
}

// deleteMedia removes a file, or all of a user.
//
// Extension: POST /media/delete, at the control socket
func (s *Server) deleteMedia(ctx context.Context, _ *httpapi.Caller, q *ControlMedia) (*ControlMediaDone, error) {
	if q.User != "" {
		user, err := s.named(q.User)
		if err != nil {
			return nil, err
		}
		n, err := s.media.DeleteOf(ctx, user)
		return &ControlMediaDone{Files: n}, err
	}
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	return &ControlMediaDone{Files: 1}, s.media.Delete(ctx, id)
}

// quarantineMedia gives a file to nobody, or again.
//
// Extension: POST /media/quarantine, at the control socket
func (s *Server) quarantineMedia(ctx context.Context, _ *httpapi.Caller, q *ControlMedia) (*ControlMediaDone, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	return &ControlMediaDone{Files: 1}, s.media.Quarantine(ctx, id, !q.Undo)
}

// blockMedia blocks the bytes of a file, or takes that back.
//
// Extension: POST /media/block, at the control socket
func (s *Server) blockMedia(ctx context.Context, _ *httpapi.Caller, q *ControlMedia) (*ControlMediaDone, error) {
	hash, err := s.hashOf(ctx, q)
	if err != nil {
		return nil, err
	}
	if q.Undo {
		err = s.media.Unblock(ctx, hash)
	} else {
		err = s.media.Block(ctx, hash, q.Reason)
	}
	return &ControlMediaDone{Files: 1, Hash: hash.String()}, err
}

func (s *Server) hashOf(ctx context.Context, q *ControlMedia) (media.Hash, error) {
	if q.Hash != "" {
		return media.ParseHash(q.Hash)
	}
	id, err := q.id()
	if err != nil {
		return media.Hash{}, err
	}
	return s.media.HashOf(ctx, id)
}
