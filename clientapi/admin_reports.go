package clientapi

import (
	"context"
	"encoding/json"
	"errors"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/policy"
	"astrocyte/roomserver"
)

func (a *API) adminReportRoutes(r *httpapi.Router) {
	admins := httpapi.AdminsOnly()
	r.Handle("GET", synapseV1+"event_reports", httpapi.Authed(a.adminEventReports), admins)
	r.Handle("GET", synapseV1+"event_reports/{id}", httpapi.Authed(a.adminEventReport), admins)
	r.Handle("DELETE", synapseV1+"event_reports/{id}", httpapi.Authed(a.adminDeleteEventReport), admins)
	r.Handle("GET", synapseV1+"room_reports", httpapi.Authed(a.adminRoomReports), admins)
	r.Handle("GET", synapseV1+"room_reports/{id}", httpapi.Authed(a.adminRoomReport), admins)
	r.Handle("DELETE", synapseV1+"room_reports/{id}", httpapi.Authed(a.adminDeleteRoomReport), admins)
	r.Handle("GET", synapseV1+"user_reports", httpapi.Authed(a.adminUserReports), admins)
	r.Handle("GET", synapseV1+"user_reports/{id}", httpapi.Authed(a.adminUserReport), admins)
	r.Handle("DELETE", synapseV1+"user_reports/{id}", httpapi.Authed(a.adminDeleteUserReport), admins)
}

// adminReportsRequest asks for reports. Those of a direction begin with the newest or, by f, the oldest.
type adminReportsRequest struct {
	page
	Direction string `query:"dir"`
	Reporter  string `query:"user_id"`
	Room      string `query:"room_id"`
	Sender    string `query:"sender_user_id"` // of an event
	OldSender string `query:"event_sender_user_id"`
	Target    string `query:"target_user_id"` // who is reported
}

// reports reads what is asked for of a subject, and how to go on.
func (a *API) reports(ctx context.Context, of policy.Subject, q *adminReportsRequest) (list []policy.Report, total int64, next int64, err error) {
	from, limit, err := q.bounds()
	if err != nil {
		return nil, 0, 0, err
	}
	if q.Direction != "" && q.Direction != "f" && q.Direction != "b" {
		return nil, 0, 0, matrix.InvalidParam("dir must be f or b")
	}
	user := q.Target
	if of == policy.OfEvents {
		if user = q.Sender; user == "" {
			user = q.OldSender
		}
	}
	list, total, err = a.policy.Reports(ctx, policy.ReportQuery{
		Of: of, Reporter: q.Reporter, Room: q.Room, User: user, Oldest: q.Direction == "f", Skip: from, Limit: limit,
	})
	if end := from + int64(len(list)); len(list) > 0 && end < total {
		next = end
	}
	return list, total, next, err
}

type adminReportRequest struct {
	ID int64 `path:"id"`
}

// adminReportEntry is a report of an event or a room.
type adminReportEntry struct {
	ID       int64          `json:"id"`
	At       int64          `json:"received_ts"`
	Reporter matrix.UserID  `json:"user_id"`
	Sender   matrix.UserID  `json:"sender,omitempty"`
	RoomID   matrix.RoomID  `json:"room_id"`
	EventID  matrix.EventID `json:"event_id,omitempty"`
	Reason   string         `json:"reason"`
	Score    *int           `json:"score"` // of older versions of the specification; never kept
	Name     *string        `json:"name"`
	Alias    *string        `json:"canonical_alias"`
	Topic    *string        `json:"topic"`
}

// roomNames are what rooms are called, each looked up once.
type roomNames struct {
	a    *API
	seen map[matrix.RoomID]roomserver.Overview
}

// entry shows a report, with the names of its room where that is still known.
func (n *roomNames) entry(ctx context.Context, r policy.Report) (adminReportEntry, error) {
	e := adminReportEntry{ID: r.ID, At: r.At, Reporter: r.Reporter, Sender: r.User, RoomID: r.Room, EventID: r.Event, Reason: r.Reason}
	o, known := n.seen[r.Room]
	if !known {
		var err error
		o, err = n.a.rooms.Overview(ctx, r.Room)
		var gone *matrix.Error
		if err != nil && !errors.As(err, &gone) {
			return e, err
		}
		n.seen[r.Room] = o
	}
	e.Name, e.Alias, e.Topic = optional(o.Name), optional(o.CanonicalAlias), optional(o.Topic)
	return e, nil
}

func (a *API) reportEntries(ctx context.Context, list []policy.Report) ([]adminReportEntry, error) {
	names := roomNames{a, make(map[matrix.RoomID]roomserver.Overview)}
	entries := make([]adminReportEntry, len(list))
	for i, r := range list {
		var err error
		if entries[i], err = names.entry(ctx, r); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

type adminEventReportsResponse struct {
	Reports []adminReportEntry `json:"event_reports"`
	Total   int64              `json:"total"`
	Next    int64              `json:"next_token,omitempty"`
}

// adminEventReports lists the events that users reported.
//
// Extension: GET /_synapse/admin/v1/event_reports
func (a *API) adminEventReports(ctx context.Context, _ *httpapi.Caller, q *adminReportsRequest) (*adminEventReportsResponse, error) {
	list, total, next, err := a.reports(ctx, policy.OfEvents, q)
	if err != nil {
		return nil, err
	}
	entries, err := a.reportEntries(ctx, list)
	return &adminEventReportsResponse{entries, total, next}, err
}

type adminEventReportDetail struct {
	adminReportEntry
	Event json.RawMessage `json:"event_json,omitempty"`
}

// adminEventReport shows one report, with the event that it is about.
//
// Extension: GET /_synapse/admin/v1/event_reports/{reportId}
func (a *API) adminEventReport(ctx context.Context, c *httpapi.Caller, q *adminReportRequest) (*adminEventReportDetail, error) {
	r, err := a.policy.FindReport(ctx, policy.OfEvents, q.ID)
	if err != nil {
		return nil, err
	}
	entries, err := a.reportEntries(ctx, []policy.Report{r})
	if err != nil {
		return nil, err
	}
	answer := &adminEventReportDetail{adminReportEntry: entries[0]}
	e, err := a.rooms.Event(ctx, viewer(overseer(c)), r.Room, r.Event)
	if err == nil {
		answer.Event, err = json.Marshal(e)
	}
	var gone *matrix.Error
	if err != nil && !errors.As(err, &gone) {
		return nil, err
	}
	return answer, nil
}

// adminDeleteEventReport forgets the report of an event.
//
// Extension: DELETE /_synapse/admin/v1/event_reports/{reportId}
func (a *API) adminDeleteEventReport(ctx context.Context, _ *httpapi.Caller, q *adminReportRequest) (*none, error) {
	return nil, a.policy.Forget(ctx, policy.OfEvents, q.ID)
}

type adminRoomReportsResponse struct {
	Reports []adminReportEntry `json:"room_reports"`
	Total   int64              `json:"total"`
	Next    int64              `json:"next_batch,omitempty"`
}

// adminRoomReports lists the rooms that users reported.
//
// Extension: GET /_synapse/admin/v1/room_reports
func (a *API) adminRoomReports(ctx context.Context, _ *httpapi.Caller, q *adminReportsRequest) (*adminRoomReportsResponse, error) {
	list, total, next, err := a.reports(ctx, policy.OfRooms, q)
	if err != nil {
		return nil, err
	}
	entries, err := a.reportEntries(ctx, list)
	return &adminRoomReportsResponse{entries, total, next}, err
}

// adminRoomReport shows the report of a room.
//
// Extension: GET /_synapse/admin/v1/room_reports/{reportId}
func (a *API) adminRoomReport(ctx context.Context, _ *httpapi.Caller, q *adminReportRequest) (*adminReportEntry, error) {
	r, err := a.policy.FindReport(ctx, policy.OfRooms, q.ID)
	if err != nil {
		return nil, err
	}
	entries, err := a.reportEntries(ctx, []policy.Report{r})
	if err != nil {
		return nil, err
	}
	return &entries[0], nil
}

// adminDeleteRoomReport forgets the report of a room.
//
// Extension: DELETE /_synapse/admin/v1/room_reports/{reportId}
func (a *API) adminDeleteRoomReport(ctx context.Context, _ *httpapi.Caller, q *adminReportRequest) (*none, error) {
	return nil, a.policy.Forget(ctx, policy.OfRooms, q.ID)
}

type adminUserReportEntry struct {
	ID       int64         `json:"id"`
	At       int64         `json:"received_ts"`
	Reporter matrix.UserID `json:"user_id"`
	Target   matrix.UserID `json:"target_user_id"`
	Reason   string        `json:"reason"`
}

func newUserReport(r policy.Report) adminUserReportEntry {
	return adminUserReportEntry{r.ID, r.At, r.Reporter, r.User, r.Reason}
}

type adminUserReportsResponse struct {
	Reports []adminUserReportEntry `json:"user_reports"`
	Total   int64                  `json:"total"`
	Next    int64                  `json:"next_token,omitempty"`
}

// adminUserReports lists the users whom others reported.
//
// Extension: GET /_synapse/admin/v1/user_reports
func (a *API) adminUserReports(ctx context.Context, _ *httpapi.Caller, q *adminReportsRequest) (*adminUserReportsResponse, error) {
	list, total, next, err := a.reports(ctx, policy.OfUsers, q)
	if err != nil {
		return nil, err
	}
	answer := &adminUserReportsResponse{make([]adminUserReportEntry, len(list)), total, next}
	for i, r := range list {
		answer.Reports[i] = newUserReport(r)
	}
	return answer, nil
}

// adminUserReport shows the report of a user.
//
// Extension: GET /_synapse/admin/v1/user_reports/{reportId}
func (a *API) adminUserReport(ctx context.Context, _ *httpapi.Caller, q *adminReportRequest) (*adminUserReportEntry, error) {
	r, err := a.policy.FindReport(ctx, policy.OfUsers, q.ID)
	if err != nil {
		return nil, err
	}
	e := newUserReport(r)
	return &e, nil
}

// adminDeleteUserReport forgets the report of a user.
//
// Extension: DELETE /_synapse/admin/v1/user_reports/{reportId}
func (a *API) adminDeleteUserReport(ctx context.Context, _ *httpapi.Caller, q *adminReportRequest) (*none, error) {
	return nil, a.policy.Forget(ctx, policy.OfUsers, q.ID)
}
