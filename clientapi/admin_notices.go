package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/policy"
	"astrocyte/roomserver"
)

func (a *API) adminNoticeRoutes(r *httpapi.Router) {
	const notice = synapseV1 + "send_server_notice"
	r.Handle("POST", notice, httpapi.Authed(a.adminNotice), httpapi.AdminsOnly())
	r.Handle("PUT", notice+"/{txnID}", httpapi.Authed(a.adminNotice), httpapi.AdminsOnly())
}

type adminNoticeRequest struct {
	TxnID    string          `path:"txnID"`
	User     matrix.UserID   `json:"user_id" required:"true"`
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key"`
	Content  json.RawMessage `json:"content" required:"true"`
}

// adminNotice tells a user something in the name of the server. Asked with the same transaction ID again, it
// tells them nothing more.
//
// Extension: POST /_synapse/admin/v1/send_server_notice
// Extension: PUT /_synapse/admin/v1/send_server_notice/{txnId}
func (a *API) adminNotice(ctx context.Context, c *httpapi.Caller, q *adminNoticeRequest) (*sendResponse, error) {
	if len(q.Content) == 0 || q.Content[0] != '{' {
		return nil, matrix.BadJSON("content must be an object")
	}
	n := policy.Notice{To: q.User, Type: q.Type, Key: q.StateKey, Content: q.Content}
	if q.TxnID != "" {
		n.Txn = &roomserver.Txn{Device: c.Device, Scope: "notice/" + string(c.User), ID: q.TxnID}
	}
	return sent(a.policy.SendNotice(ctx, n))
}
