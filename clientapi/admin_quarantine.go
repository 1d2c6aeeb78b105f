package clientapi

import (
	"context"
	"math"
	"strconv"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
)

func (a *API) adminQuarantineRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	r.Handle("GET", synapseV1+"media/{server}/{media}", httpapi.Authed(a.adminMedia), admins)
	r.Handle("GET", synapseV1+"room/{roomID}/media", httpapi.Authed(a.adminRoomMedia), admins)
	r.Handle("POST", synapseV1+"purge_media_cache", httpapi.Authed(a.adminPurgeMedia), admins)
	r.Handle("POST", synapseV1+"room/{roomID}/media/quarantine", httpapi.Authed(a.adminQuarantineRoom), admins)
	r.Handle("POST", synapseV1+"user/{userID}/media/quarantine", httpapi.Authed(a.adminQuarantineUser), admins)
	r.Handle("POST", synapseV1+"media/protect/{media}", httpapi.Authed(a.adminProtect), admins)
	r.Handle("POST", synapseV1+"media/unprotect/{media}", httpapi.Authed(a.adminUnprotect), admins)
}

type adminMediaDetail struct {
	adminMediaEntry
	Origin  matrix.ServerName `json:"media_origin"`
	User    *string           `json:"user_id"`
	By      *string           `json:"quarantined_by"` // who it was is in the log
	Blocked string            `json:"sha256,omitempty"`
	Authed  bool              `json:"authenticated"`
}

type adminMediaResponse struct {
	Media adminMediaDetail `json:"media_info"`
}

func newMediaEntry(f media.Overseen) adminMediaEntry {
	return adminMediaEntry{
		MediaID: f.ID.Media, Type: f.ContentType, Size: f.Size, Name: optional(f.Name), Created: f.Created, Accessed: f.Accessed,
		Quarantined: f.Quarantined, Safe: f.Protected,
	}
}

// adminMedia tells of a file.
//
// Extension: GET /_synapse/admin/v1/media/{serverName}/{mediaId}
func (a *API) adminMedia(ctx context.Context, _ *httpapi.Caller, q *adminMediaRequest) (*adminMediaResponse, error) {
	f, err := a.media.Oversee(ctx, q.id())
	if err != nil {
		return nil, err
	}
	answer := &adminMediaResponse{adminMediaDetail{
		adminMediaEntry: newMediaEntry(f), Origin: f.ID.Origin, User: optional(string(f.Uploader)), Authed: !f.Public,
	}}
	if f.Size > 0 {
		answer.Media.Blocked = f.Hash.String()
	}
	if f.Quarantined {
		answer.Media.By = optional("an administrator")
	}
	return answer, nil
}

type adminRoomMediaRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	From   string        `query:"from"`
	Limit  *int64        `query:"limit"`
}

type adminRoomMediaResponse struct {
	Local  []string `json:"local"`
	Remote []string `json:"remote"`
	Next   string   `json:"next_token,omitempty"`
}

// adminRoomMedia lists the files that the events of a room show, as far as they are not encrypted.
//
// Extension: GET /_synapse/admin/v1/room/{roomId}/media
func (a *API) adminRoomMedia(ctx context.Context, _ *httpapi.Caller, q *adminRoomMediaRequest) (*adminRoomMediaResponse, error) {
	_, limit, err := page{Limit: q.Limit}.bounds()
	if err != nil {
		return nil, err
	}
	after := int64(math.MinInt64 / 2)
	if q.From != "" {
		if after, err = strconv.ParseInt(q.From, 10, 64); err != nil {
			return nil, matrix.InvalidParam("from is not a token of this server")
		}
	}
	if q.Limit == nil {
		limit = adminMost
	}
	files, next, err := a.attached.FilesIn(ctx, q.RoomID, after, max(limit, 1))
	if err != nil {
		return nil, err
	}
	answer := &adminRoomMediaResponse{Local: []string{}, Remote: []string{}}
	for _, id := range files {
		if id.Origin == a.server {
			answer.Local = append(answer.Local, id.String())
		} else {
			answer.Remote = append(answer.Remote, id.String())
		}
	}
	if next != 0 {
		answer.Next = strconv.FormatInt(next, 10)
	}
	return answer, nil
}

type adminQuarantinedResponse struct {
	Quarantined int64 `json:"num_quarantined"`
}

// adminQuarantineRoom gives the files that the events of a room show to nobody any more.
//
// Extension: POST /_synapse/admin/v1/room/{roomId}/media/quarantine
func (a *API) adminQuarantineRoom(ctx context.Context, _ *httpapi.Caller, q *adminRoomRequest) (*adminQuarantinedResponse, error) {
	n, err := a.attached.QuarantineRoom(ctx, q.RoomID)
	return &adminQuarantinedResponse{n}, err
}

// adminQuarantineUser gives what a user has uploaded to nobody any more.
//
// Extension: POST /_synapse/admin/v1/user/{userId}/media/quarantine
func (a *API) adminQuarantineUser(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminQuarantinedResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	n, err := a.media.QuarantineOf(ctx, q.User)
	return &adminQuarantinedResponse{n}, err
}

type adminProtectRequest struct {
	Media string `path:"media"`
}

// adminProtect keeps a file of this server from being put into quarantine.
//
// Extension: POST /_synapse/admin/v1/media/protect/{mediaId}
func (a *API) adminProtect(ctx context.Context, _ *httpapi.Caller, q *adminProtectRequest) (*none, error) {
	return nil, a.media.Protect(ctx, media.ID{Origin: a.server, Media: q.Media}, true)
}

// adminUnprotect ends that.
//
// Extension: POST /_synapse/admin/v1/media/unprotect/{mediaId}
func (a *API) adminUnprotect(ctx context.Context, _ *httpapi.Caller, q *adminProtectRequest) (*none, error) {
	return nil, a.media.Protect(ctx, media.ID{Origin: a.server, Media: q.Media}, false)
}

type adminPurgeMediaRequest struct {
	Before *int64 `query:"before_ts" required:"true"`
}

type adminPurgeMediaResponse struct {
	Deleted int `json:"deleted"`
}

// adminPurgeMedia removes files of other servers that nobody has asked for since a time.
//
// Extension: POST /_synapse/admin/v1/purge_media_cache
func (a *API) adminPurgeMedia(ctx context.Context, _ *httpapi.Caller, q *adminPurgeMediaRequest) (*adminPurgeMediaResponse, error) {
	if *q.Before < 0 {
		return nil, matrix.InvalidParam("before_ts cannot be negative")
	}
	n, err := a.media.PurgeRemote(ctx, *q.Before)
	return &adminPurgeMediaResponse{n}, err
}
