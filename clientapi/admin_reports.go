package clientapi

import (
	"context"
	"encoding/json"
	"strconv"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/policy"
)

func (a *API) adminReportRoutes(r *httpapi.Router) {
	const reports = synapseV1 + "event_reports"
	r.Handle("GET", reports, httpapi.Authed(a.adminReports), httpapi.AdminsOnly())
	r.Handle("DELETE", reports+"/{id}", httpapi.Authed(a.adminDeleteReport), httpapi.AdminsOnly())
}

type adminReportEntry struct {
	ID       int64          `json:"id"`
	At       int64          `json:"received_ts"`
	Reporter matrix.UserID  `json:"user_id"`
	Sender   matrix.UserID  `json:"sender,omitempty"`
	RoomID   matrix.RoomID  `json:"room_id,omitempty"`
	EventID  matrix.EventID `json:"event_id,omitempty"`
	Reason   string         `json:"reason"`
}

func newAdminReport(r policy.Report) adminReportEntry {
	return adminReportEntry{
		ID: r.ID, At: r.At, Reporter: r.Reporter, Sender: r.User, RoomID: r.Room, EventID: r.Event, Reason: r.Reason,
	}
}

type adminReportsRequest struct {
	From  int64  `query:"from"`
	Limit *int64 `query:"limit"`
}

type adminReportsResponse struct {
	Reports []adminReportEntry `json:"event_reports"`
	Next    json.Number        `json:"next_token,omitempty"`
}

// adminReports lists what users reported, the newest first: events, rooms and users. The token of the
// next page is the id of the last report of this one.
//
// Extension: GET /_synapse/admin/v1/event_reports
func (a *API) adminReports(ctx context.Context, _ *httpapi.Caller, q *adminReportsRequest) (*adminReportsResponse, error) {
	from, limit, err := page(*q).bounds()
	if err != nil {
		return nil, err
	}
	reports, err := a.policy.Reports(ctx, from, limit)
	if err != nil {
		return nil, err
	}
	answer := &adminReportsResponse{Reports: make([]adminReportEntry, len(reports))}
	for i, r := range reports {
		answer.Reports[i] = newAdminReport(r)
	}
	if len(reports) == limit && limit > 0 {
		answer.Next = json.Number(strconv.FormatInt(reports[limit-1].ID, 10))
	}
	return answer, nil
}

type adminReportRequest struct {
	ID int64 `path:"id"`
}

// adminDeleteReport forgets a report.
//
// Extension: DELETE /_synapse/admin/v1/event_reports/{reportId}
func (a *API) adminDeleteReport(ctx context.Context, _ *httpapi.Caller, q *adminReportRequest) (*none, error) {
	return nil, a.policy.Forget(ctx, q.ID)
}
