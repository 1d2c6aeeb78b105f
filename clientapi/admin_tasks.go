package clientapi

import (
	"context"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/policy"
	"astrocyte/roomserver"
)

func (a *API) adminTaskRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	const rooms = synapseV2 + "rooms/"
	r.Handle("DELETE", rooms+"{roomID}", httpapi.Authed(a.adminDeleteRoom), admins)
	r.Handle("GET", rooms+"{roomID}/delete_status", httpapi.Authed(a.adminDeletions), admins)
	r.Handle("GET", rooms+"delete_status/{taskID}", httpapi.Authed(a.adminDeletion), admins)
	r.Handle("POST", synapseV1+"purge_history/{roomID}", httpapi.Authed(a.adminPurgeHistory), admins)
	r.Handle("POST", synapseV1+"purge_history/{roomID}/{eventID}", httpapi.Authed(a.adminPurgeHistory), admins)
	r.Handle("GET", synapseV1+"purge_history_status/{taskID}", httpapi.Authed(a.adminPurgeStatus), admins)
	r.Handle("POST", synapseV1+"user/{userID}/redact", httpapi.Authed(a.adminRedactUser), admins)
	r.Handle("GET", synapseV1+"user/redact_status/{taskID}", httpapi.Authed(a.adminRedactStatus), admins)
}

type adminDeleteRoomRequest struct {
	RoomID  matrix.RoomID `path:"roomID"`
	Block   bool          `json:"block"`
	Purge   *bool         `json:"purge"`
	Force   bool          `json:"force_purge"`
	NewUser matrix.UserID `json:"new_room_user_id"`
	Name    string        `json:"room_name"`
	Message string        `json:"message"`
}

type adminDeleteRoomResponse struct {
	DeleteID string `json:"delete_id"`
}

// adminDeleteRoom ends a room on this server, in the background: its users leave, and what is kept of it is removed.
//
// Extension: DELETE /_synapse/admin/v2/rooms/{roomId}
func (a *API) adminDeleteRoom(ctx context.Context, c *httpapi.Caller, q *adminDeleteRoomRequest) (*adminDeleteRoomResponse, error) {
	id, err := a.policy.StartDeletion(ctx, policy.Deletion{
		Room: q.RoomID, By: c.User, Block: q.Block, Purge: q.Purge == nil || *q.Purge, Force: q.Force,
		NewUser: q.NewUser, Name: q.Name, Message: q.Message,
	})
	if err != nil {
		return nil, err
	}
	return &adminDeleteRoomResponse{id}, nil
}

type adminDeletionEntry struct {
	DeleteID string         `json:"delete_id,omitempty"`
	Status   string         `json:"status"`
	Error    string         `json:"error,omitempty"`
	Room     policy.Deleted `json:"shutdown_room"`
}

func newAdminDeletion(t policy.Task) (adminDeletionEntry, error) {
	done, err := t.Deletion()
	done.Kicked, done.Failed, done.Aliases = orEmpty(done.Kicked), orEmpty(done.Failed), orEmpty(done.Aliases)
	e := adminDeletionEntry{DeleteID: t.ID, Status: t.Status, Error: t.Failure, Room: done}
	if t.Status == policy.Active {
		e.Status = "shutting_down"
		if done.Purging() {
			e.Status = "purging"
		}
	}
	return e, err
}

type adminDeletionsResponse struct {
	Results []adminDeletionEntry `json:"results"`
}

// adminDeletions tells how far the deletions of a room are, the newest first.
//
// Extension: GET /_synapse/admin/v2/rooms/{roomId}/delete_status
func (a *API) adminDeletions(ctx context.Context, _ *httpapi.Caller, q *adminRoomRequest) (*adminDeletionsResponse, error) {
	tasks, err := a.policy.Tasks(ctx, policy.DeleteRoom, string(q.RoomID))
	if err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, matrix.NotFound("nobody has deleted the room %s of late", q.RoomID)
	}
	answer := &adminDeletionsResponse{}
	for _, t := range tasks {
		e, err := newAdminDeletion(t)
		if err != nil {
			return nil, err
		}
		answer.Results = append(answer.Results, e)
	}
	return answer, nil
}

type adminTaskRequest struct {
	TaskID string `path:"taskID"`
}

// adminDeletion tells how far a deletion is.
//
// Extension: GET /_synapse/admin/v2/rooms/delete_status/{deleteId}
func (a *API) adminDeletion(ctx context.Context, _ *httpapi.Caller, q *adminTaskRequest) (*adminDeletionEntry, error) {
	t, err := a.policy.Task(ctx, policy.DeleteRoom, q.TaskID)
	if err != nil {
		return nil, err
	}
	e, err := newAdminDeletion(t)
	return &e, err
}

type adminPurgeRequest struct {
	RoomID  matrix.RoomID  `path:"roomID"`
	EventID matrix.EventID `path:"eventID"`
	Ours    bool           `json:"delete_local_events"`
	Event   matrix.EventID `json:"purge_up_to_event_id"`
	Time    *int64         `json:"purge_up_to_ts"`
}

type adminPurgeResponse struct {
	PurgeID string `json:"purge_id"`
}

// adminPurgeHistory removes messages of a room that are older than one of its events, or than a time, in the
// background.
//
// Extension: POST /_synapse/admin/v1/purge_history/{roomId}
// Extension: POST /_synapse/admin/v1/purge_history/{roomId}/{eventId}
func (a *API) adminPurgeHistory(ctx context.Context, _ *httpapi.Caller, q *adminPurgeRequest) (*adminPurgeResponse, error) {
	h := policy.HistoryPurge{Room: q.RoomID, Ours: q.Ours}
	switch {
	case q.EventID != "":
		h.Event = q.EventID
	case q.Event != "":
		h.Event = q.Event
	case q.Time != nil:
		h.Time = *q.Time
	default:
		return nil, matrix.MissingParam("purge_up_to_event_id or purge_up_to_ts is missing")
	}
	id, err := a.policy.StartPurge(ctx, h)
	if err != nil {
		return nil, err
	}
	return &adminPurgeResponse{id}, nil
}

type adminPurgeStatus struct {
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

// adminPurgeStatus tells how far a removal of messages is.
//
// Extension: GET /_synapse/admin/v1/purge_history_status/{purgeId}
func (a *API) adminPurgeStatus(ctx context.Context, _ *httpapi.Caller, q *adminTaskRequest) (*adminPurgeStatus, error) {
	t, err := a.policy.Task(ctx, policy.PurgeHistory, q.TaskID)
	if err != nil {
		return nil, err
	}
	status := t.Status
	if status == policy.Scheduled { // tools know no such status here
		status = policy.Active
	}
	return &adminPurgeStatus{status, t.Failure}, nil
}

type adminRedactRequest struct {
	User   matrix.UserID   `path:"userID"`
	Rooms  []matrix.RoomID `json:"rooms" required:"true"`
	Reason string          `json:"reason"`
	Limit  *int            `json:"limit"`
	Admin  bool            `json:"use_admin"`
}

type adminRedactResponse struct {
	RedactID string `json:"redact_id"`
}

// adminRedactUser redacts what a user has said, in the background: in some rooms, or in all where none is named.
//
// Extension: POST /_synapse/admin/v1/user/{userId}/redact
func (a *API) adminRedactUser(ctx context.Context, c *httpapi.Caller, q *adminRedactRequest) (*adminRedactResponse, error) {
	r := policy.Redaction{User: q.User, By: c.User, Rooms: q.Rooms, Reason: q.Reason, Admin: q.Admin}
	if len(q.Rooms) > policy.RedactMost {
		return nil, matrix.InvalidParam("more than %d rooms", policy.RedactMost)
	}
	if q.Limit != nil {
		if *q.Limit <= 0 {
			return nil, matrix.InvalidParam("limit must be positive")
		}
		r.Limit = *q.Limit
	}
	if q.User.Server() == a.server {
		if _, err := a.localUser(ctx, q.User); err != nil {
			return nil, err
		}
	}
	id, err := a.policy.StartRedaction(ctx, r)
	if err != nil {
		return nil, err
	}
	return &adminRedactResponse{id}, nil
}

type adminRedactStatus struct {
	Status string                    `json:"status"`
	Done   int                       `json:"redacted"`
	Failed map[matrix.EventID]string `json:"failed_redactions"`
	Error  string                    `json:"error,omitempty"`
}

// adminRedactStatus tells how far a redaction of what a user has said is.
//
// Extension: GET /_synapse/admin/v1/user/redact_status/{redactId}
func (a *API) adminRedactStatus(ctx context.Context, _ *httpapi.Caller, q *adminTaskRequest) (*adminRedactStatus, error) {
	t, err := a.policy.Task(ctx, policy.RedactUser, q.TaskID)
	if err != nil {
		return nil, err
	}
	done, err := t.Redaction()
	if err != nil {
		return nil, err
	}
	answer := &adminRedactStatus{Status: t.Status, Done: done.Done, Failed: done.Failed, Error: t.Failure}
	if answer.Failed == nil {
		answer.Failed = map[matrix.EventID]string{}
	}
	return answer, nil
}

// overseer is the viewer that an administrator is.
func overseer(c *httpapi.Caller) *httpapi.Caller {
	return &httpapi.Caller{User: roomserver.Overseer, Admin: true, Request: c.Request}
}
