package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/e2ee"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) dehydratedRoutes(r *httpapi.Router) {
	const path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
	r.Handle("PUT", path, httpapi.Authed(a.dehydrate), httpapi.Limit("ephemeral"))
	r.Handle("GET", path, httpapi.Authed(a.dehydrated))
	r.Handle("DELETE", path, httpapi.Authed(a.deleteDehydrated), httpapi.Limit("ephemeral"))
	r.Handle("POST", path+"/{deviceID}/events", httpapi.Authed(a.dehydratedEvents))
}

type dehydrateRequest struct {
	DeviceID matrix.DeviceID `json:"device_id" required:"true"`
	Device   json.RawMessage `json:"device_data" required:"true"`
	Name     string          `json:"initial_device_display_name"`
	uploadKeysRequest
}

type dehydratedID struct {
	DeviceID matrix.DeviceID `json:"device_id"`
}

// dehydrate stores a device that takes messages while the caller has no other.
//
// Spec: PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device (MSC3814)
func (a *API) dehydrate(ctx context.Context, c *httpapi.Caller, q *dehydrateRequest) (*dehydratedID, error) {
	err := a.encryption.Dehydrate(ctx, c.User, e2ee.Dehydration{
		Dehydrated: e2ee.Dehydrated{ID: q.DeviceID, Device: q.Device}, Name: q.Name,
		Upload: e2ee.Upload{DeviceKeys: q.DeviceKeys, OneTime: q.OneTimeKeys, Fallback: q.FallbackKeys},
	})
	if err != nil {
		return nil, err
	}
	return &dehydratedID{q.DeviceID}, nil
}

type dehydratedResponse struct {
	DeviceID matrix.DeviceID `json:"device_id"`
	Device   json.RawMessage `json:"device_data"`
}

// dehydrated gives the dehydrated device.
//
// Spec: GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device (MSC3814)
func (a *API) dehydrated(ctx context.Context, c *httpapi.Caller, _ *none) (*dehydratedResponse, error) {
	d, err := a.encryption.Dehydrated(ctx, c.User)
	if err != nil {
		return nil, err
	}
	return &dehydratedResponse{d.ID, d.Device}, nil
}

// deleteDehydrated deletes the dehydrated device.
//
// Spec: DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device (MSC3814)
func (a *API) deleteDehydrated(ctx context.Context, c *httpapi.Caller, _ *none) (*dehydratedID, error) {
	id, err := a.encryption.DeleteDehydrated(ctx, c.User)
	if err != nil {
		return nil, err
	}
	return &dehydratedID{id}, nil
}

type dehydratedEventsRequest struct {
	DeviceID  matrix.DeviceID `path:"deviceID"`
	NextBatch string          `json:"next_batch"`
}

type dehydratedEventsResponse struct {
	Events    []json.RawMessage `json:"events"`
	NextBatch string            `json:"next_batch"`
}

// dehydratedEvents gives the messages to the dehydrated device, part by part; none are the end.
//
// Spec: POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events (MSC3814)
func (a *API) dehydratedEvents(ctx context.Context, c *httpapi.Caller, q *dehydratedEventsRequest) (*dehydratedEventsResponse, error) {
	events, next, err := a.encryption.DehydratedEvents(ctx, c.User, q.DeviceID, q.NextBatch)
	if err != nil {
		return nil, err
	}
	return &dehydratedEventsResponse{listed(events), next}, nil
}
