package clientapi

import (
	"context"
	"encoding/json"
	"maps"

	"astrocyte/e2ee"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) toDeviceRoutes(r *httpapi.Router) {
	v3(r, "PUT", "/sendToDevice/{eventType}/{txnID}", httpapi.Authed(a.sendToDevice),
		httpapi.GuestsToo(), httpapi.Limit("message"), httpapi.BodyLimit(maxToDevice))
}

// maxToDevice bounds a request for many devices.
const maxToDevice = 8 << 20

type toDeviceRequest struct {
	EventType string        `path:"eventType"`
	TxnID     string        `path:"txnID"`
	Messages  e2ee.Messages `json:"messages" required:"true"`
}

// sendToDevice sends messages to devices.
//
// Spec: PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}
func (a *API) sendToDevice(ctx context.Context, c *httpapi.Caller, q *toDeviceRequest) (*none, error) {
	if c.Shadowed { // their own devices alone are told
		maps.DeleteFunc(q.Messages, func(u matrix.UserID, _ map[matrix.DeviceID]json.RawMessage) bool { return u != c.User })
	}
	return nil, a.encryption.Send(ctx, e2ee.Sending{
		Sender: c.User, Device: c.Device, Type: q.EventType, TxnID: q.TxnID, Messages: q.Messages,
	})
}
