package clientapi

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
)

func (a *API) adminMediaRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	r.Handle("GET", synapseV1+"users/{userID}/media", httpapi.Authed(a.adminUserMedia), admins)
	r.Handle("DELETE", synapseV1+"users/{userID}/media", httpapi.Authed(a.adminDeleteUserMedia), admins)
	r.Handle("GET", synapseV1+"statistics/users/media", httpapi.Authed(a.adminMediaUsage), admins)
	r.Handle("DELETE", synapseV1+"media/{server}/{media}", httpapi.Authed(a.adminDeleteMedia), admins)
	r.Handle("POST", synapseV1+"media/delete", httpapi.Authed(a.adminDeleteOldMedia), admins)
	r.Handle("POST", synapseV1+"media/{server}/delete", httpapi.Authed(a.adminDeleteOldMedia), admins)
	r.Handle("POST", synapseV1+"media/quarantine/{server}/{media}", httpapi.Authed(a.adminQuarantine), admins)
	r.Handle("POST", synapseV1+"media/unquarantine/{server}/{media}", httpapi.Authed(a.adminUnquarantine), admins)
}

type adminUserMediaRequest struct {
	User matrix.UserID `path:"userID"`
	page
}

type adminMediaEntry struct {
	MediaID     string  `json:"media_id"`
	Type        string  `json:"media_type"`
	Size        int64   `json:"media_length"`
	Name        *string `json:"upload_name"`
	Created     int64   `json:"created_ts"`
	Accessed    int64   `json:"last_access_ts"`
	Quarantined bool    `json:"quarantined"`
	Safe        bool    `json:"safe_from_quarantine"`
}

type adminUserMediaResponse struct {
	Media []adminMediaEntry `json:"media"`
	Total int64             `json:"total"`
	Next  *string           `json:"next_token,omitempty"`
}

// adminUserMedia lists the files that a user has uploaded, the newest first.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/media
func (a *API) adminUserMedia(ctx context.Context, _ *httpapi.Caller, q *adminUserMediaRequest) (*adminUserMediaResponse, error) {
	from, limit, err := q.bounds()
	if err != nil {
		return nil, err
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	files, total, err := a.media.FilesOf(ctx, q.User, from, limit)
	if err != nil {
		return nil, err
	}
	answer := &adminUserMediaResponse{Media: []adminMediaEntry{}, Total: total, Next: q.next(len(files), total)}
	for _, f := range files {
		answer.Media = append(answer.Media, adminMediaEntry{
			MediaID: f.ID.Media, Type: f.ContentType, Size: f.Size, Name: optional(f.Name), Created: f.Created, Accessed: f.Accessed, Quarantined: f.Quarantined, Safe: f.Protected,
		})
	}
	return answer, nil
}

type adminDeletedMedia struct {
	Deleted []string `json:"deleted_media"`
	Total   int      `json:"total"`
}

// adminDeleteUserMedia deletes all files that a user has uploaded. They are counted, and not named.
//
// Extension: DELETE /_synapse/admin/v1/users/{userId}/media
func (a *API) adminDeleteUserMedia(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminDeletedMedia, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	n, err := a.media.DeleteOf(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &adminDeletedMedia{[]string{}, n}, nil
}

type adminMediaUsageRequest struct {
	page
	Order     string `query:"order_by"`
	Direction string `query:"dir"`
}

type adminMediaUsageEntry struct {
	User        matrix.UserID `json:"user_id"`
	DisplayName *string       `json:"displayname"`
	Files       int64         `json:"media_count"`
	Bytes       int64         `json:"media_length"`
}

type adminMediaUsageResponse struct {
	Users []adminMediaUsageEntry `json:"users"`
	Total int64                  `json:"total"`
	Next  *string                `json:"next_token,omitempty"`
}

// adminMediaUsage lists how much users have uploaded.
//
// Extension: GET /_synapse/admin/v1/statistics/users/media
func (a *API) adminMediaUsage(ctx context.Context, _ *httpapi.Caller, q *adminMediaUsageRequest) (*adminMediaUsageResponse, error) {
	from, limit, err := q.bounds()
	if err != nil {
		return nil, err
	}
	list, total, err := a.media.Usages(ctx, media.UsageQuery{Order: q.Order, Backward: q.Direction == "b", Skip: from, Limit: limit})
	if err != nil {
		return nil, err
	}
	ids := make([]matrix.UserID, len(list))
	for i, u := range list {
		ids[i] = u.User
	}
	profiles, err := a.accounts.Profiles(ctx, ids)
	if err != nil {
		return nil, err
	}
	answer := &adminMediaUsageResponse{Users: []adminMediaUsageEntry{}, Total: total, Next: q.next(len(list), total)}
	for _, u := range list {
		answer.Users = append(answer.Users, adminMediaUsageEntry{u.User, optional(profiles[u.User].DisplayName), u.Files, u.Bytes})
	}
	return answer, nil
}

type adminMediaRequest struct {
	Server matrix.ServerName `path:"server"`
	Media  string            `path:"media"`
}

func (q *adminMediaRequest) id() media.ID { return media.ID{Origin: q.Server, Media: q.Media} }

// adminDeleteMedia deletes a file.
//
// Extension: DELETE /_synapse/admin/v1/media/{serverName}/{mediaId}
func (a *API) adminDeleteMedia(ctx context.Context, _ *httpapi.Caller, q *adminMediaRequest) (*adminDeletedMedia, error) {
	if err := a.media.Delete(ctx, q.id()); err != nil {
		return nil, err
	}
	return &adminDeletedMedia{[]string{q.Media}, 1}, nil
}

// adminQuarantine gives a file to nobody any more.
//
// Extension: POST /_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}
func (a *API) adminQuarantine(ctx context.Context, _ *httpapi.Caller, q *adminMediaRequest) (*none, error) {
	return nil, a.media.Quarantine(ctx, q.id(), true)
}

// adminUnquarantine gives a file again.
//
// Extension: POST /_synapse/admin/v1/media/unquarantine/{serverName}/{mediaId}
func (a *API) adminUnquarantine(ctx context.Context, _ *httpapi.Caller, q *adminMediaRequest) (*none, error) {
	return nil, a.media.Quarantine(ctx, q.id(), false)
}

type adminOldMediaRequest struct {
	Server matrix.ServerName `path:"server"`
	Before *int64            `query:"before_ts" required:"true"`
	Larger int64             `query:"size_gt"`
	Keep   *bool             `query:"keep_profiles"`
}

// adminDeleteOldMedia deletes files of this server that nobody has asked for since a time, and that are larger than a size,
// but for the pictures of users and rooms.
//
// Extension: POST /_synapse/admin/v1/media/delete
// Extension: POST /_synapse/admin/v1/media/{serverName}/delete
func (a *API) adminDeleteOldMedia(ctx context.Context, _ *httpapi.Caller, q *adminOldMediaRequest) (*adminDeletedMedia, error) {
	switch {
	case *q.Before < 0 || q.Larger < 0:
		return nil, matrix.InvalidParam("before_ts and size_gt cannot be negative")
	case q.Server != "" && q.Server != a.server:
		return nil, matrix.InvalidParam("%s is not this server", q.Server)
	}
	gone, total, err := a.attached.DeleteOld(ctx, *q.Before, q.Larger, q.Keep == nil || *q.Keep)
	if err != nil {
		return nil, err
	}
	answer := &adminDeletedMedia{[]string{}, total}
	for _, id := range gone {
		answer.Deleted = append(answer.Deleted, id.Media)
	}
	return answer, nil
}
