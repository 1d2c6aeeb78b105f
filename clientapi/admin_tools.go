package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/policy"
)

// adminToolRoutes are what tools for other servers of the protocol ask for besides.
func (a *API) adminToolRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	r.Handle("GET", synapseV1+"scheduled_tasks", httpapi.Authed(a.adminScheduledTasks), admins)
	r.Handle("GET", synapseV1+"statistics/database/rooms", httpapi.Authed(a.adminLargestRooms), admins)
	r.Handle("GET", synapseV1+"experimental_features/{userID}", httpapi.Authed(a.adminFeatures), admins)
	r.Handle("PUT", synapseV1+"experimental_features/{userID}", httpapi.Authed(a.adminSetFeatures), admins)
	r.Handle("POST", synapseV1+"users/{userID}/_allow_cross_signing_replacement_without_uia", httpapi.Authed(a.adminGrantReplacement), admins)
}

// taskActions are the kinds of tasks in the words of tools.
var taskActions = map[policy.Kind]string{
	policy.DeleteRoom: "shutdown_and_purge_room", policy.PurgeHistory: "purge_history", policy.RedactUser: "redact_all_events",
}

type adminTasksRequest struct {
	Action   string `query:"action_name"`
	Resource string `query:"resource_id"`
	Status   string `query:"status"`
	Before   *int64 `query:"max_timestamp"`
}

type adminTask struct {
	ID       string          `json:"id"`
	Action   string          `json:"action"`
	Status   string          `json:"status"`
	Changed  int64           `json:"timestamp_ms"`
	Resource string          `json:"resource_id"`
	Result   json.RawMessage `json:"result"`
	Error    *string         `json:"error"`
}

type adminTasksResponse struct {
	Tasks []adminTask `json:"scheduled_tasks"`
}

// adminScheduledTasks lists what administrators asked for that takes its time, the oldest first: of the last week, and of
// the newest 1,000.
//
// Extension: GET /_synapse/admin/v1/scheduled_tasks
func (a *API) adminScheduledTasks(ctx context.Context, _ *httpapi.Caller, q *adminTasksRequest) (*adminTasksResponse, error) {
	tasks, err := a.policy.AllTasks(ctx, q.Resource)
	if err != nil {
		return nil, err
	}
	answer := &adminTasksResponse{Tasks: []adminTask{}}
	for _, t := range tasks {
		action := taskActions[t.Kind]
		if q.Action != "" && q.Action != action || q.Status != "" && q.Status != t.Status || q.Before != nil && t.Changed >= *q.Before {
			continue
		}
		answer.Tasks = append(answer.Tasks, adminTask{t.ID, action, t.Status, t.Changed, t.About, t.Result(), optional(t.Failure)})
	}
	return answer, nil
}

type adminSize struct {
	RoomID matrix.RoomID `json:"room_id"`
	Bytes  int64         `json:"estimated_size"`
}

type adminLargestResponse struct {
	Rooms []adminSize `json:"rooms"`
}

// largestMost is how many rooms are told that take up the most of the database.
const largestMost = 10

// adminLargestRooms estimates which rooms take up the most of the database.
//
// Extension: GET /_synapse/admin/v1/statistics/database/rooms
func (a *API) adminLargestRooms(ctx context.Context, _ *httpapi.Caller, _ *none) (*adminLargestResponse, error) {
	sizes, err := a.rooms.Largest(ctx, largestMost)
	if err != nil {
		return nil, err
	}
	answer := &adminLargestResponse{Rooms: []adminSize{}}
	for _, s := range sizes {
		answer.Rooms = append(answer.Rooms, adminSize{s.Room, s.Bytes})
	}
	return answer, nil
}

// userFeatures are the features that tools switch for single users, and whether this server has them: for all.
func userFeatures() map[string]bool {
	return map[string]bool{"msc3575": true, "msc4222": true, "msc3881": false}
}

type adminFeaturesResponse struct {
	Features map[string]bool `json:"features"`
}

// adminFeatures tells which of the features that tools ask for a user has: the same as everybody.
//
// Extension: GET /_synapse/admin/v1/experimental_features/{userId}
func (a *API) adminFeatures(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminFeaturesResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	return &adminFeaturesResponse{userFeatures()}, nil
}

type adminSetFeaturesRequest struct {
	User     matrix.UserID   `path:"userID"`
	Features map[string]bool `json:"features" required:"true"`
}

// adminSetFeatures takes what is so anyway. No feature can be switched for a single user.
//
// Extension: PUT /_synapse/admin/v1/experimental_features/{userId}
func (a *API) adminSetFeatures(ctx context.Context, _ *httpapi.Caller, q *adminSetFeaturesRequest) (*none, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	for name, on := range q.Features {
		switch has, known := userFeatures()[name]; {
		case !known:
			return nil, matrix.InvalidParam("this server knows no feature %q of single users", name)
		case on && !has:
			return nil, matrix.InvalidParam("this server does not have the feature %s", name)
		case !on && has:
			return nil, matrix.InvalidParam("the feature %s is there for all users", name)
		}
	}
	return nil, nil
}

type adminGrantResponse struct {
	Until int64 `json:"updatable_without_uia_before_ms"`
}

// adminGrantReplacement lets a user replace their cross-signing keys once within ten minutes without a password.
//
// Extension: POST /_synapse/admin/v1/users/{userId}/_allow_cross_signing_replacement_without_uia
func (a *API) adminGrantReplacement(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminGrantResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	until, err := a.encryption.GrantReplacement(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &adminGrantResponse{until}, nil
}
