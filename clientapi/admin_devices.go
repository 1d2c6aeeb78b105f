package clientapi

import (
	"context"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) adminDeviceRoutes(r *httpapi.Router) {
	const devices = synapseV2 + "users/{userID}/devices"
	r.Handle("GET", devices, httpapi.Authed(a.adminDevices), httpapi.AdminsOnly())
	r.Handle("GET", devices+"/{deviceID}", httpapi.Authed(a.adminDevice), httpapi.AdminsOnly())
	r.Handle("PUT", devices+"/{deviceID}", httpapi.Authed(a.adminRenameDevice), httpapi.AdminsOnly())
	r.Handle("DELETE", devices+"/{deviceID}", httpapi.Authed(a.adminDeleteDevice), httpapi.AdminsOnly())
	r.Handle("POST", synapseV2+"users/{userID}/delete_devices", httpapi.Authed(a.adminDeleteDevices), httpapi.AdminsOnly())
}

type adminDeviceEntry struct {
	deviceResponse
	User  matrix.UserID `json:"user_id"`
	Agent string        `json:"last_seen_user_agent,omitempty"`
}

func newAdminDevice(user matrix.UserID, d account.Device) adminDeviceEntry {
	return adminDeviceEntry{newDeviceResponse(d), user, d.Agent}
}

type adminDevicesResponse struct {
	Devices []adminDeviceEntry `json:"devices"`
	Total   int                `json:"total"`
}

// adminDevices lists the devices of a user.
//
// Extension: GET /_synapse/admin/v2/users/{userId}/devices
func (a *API) adminDevices(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminDevicesResponse, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	devices, err := a.accounts.Devices(ctx, q.User)
	if err != nil {
		return nil, err
	}
	answer := &adminDevicesResponse{Devices: make([]adminDeviceEntry, len(devices)), Total: len(devices)}
	for i, d := range devices {
		answer.Devices[i] = newAdminDevice(q.User, d)
	}
	return answer, nil
}

type adminDeviceRequest struct {
	User        matrix.UserID   `path:"userID"`
	DeviceID    matrix.DeviceID `path:"deviceID"`
	DisplayName *string         `json:"display_name"`
}

// adminDevice tells of a device of a user.
//
// Extension: GET /_synapse/admin/v2/users/{userId}/devices/{deviceId}
func (a *API) adminDevice(ctx context.Context, _ *httpapi.Caller, q *adminDeviceRequest) (*adminDeviceEntry, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	d, found, err := a.accounts.Device(ctx, q.User, q.DeviceID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoDevice
	}
	answer := newAdminDevice(q.User, d)
	return &answer, nil
}

// adminRenameDevice names a device of a user.
//
// Extension: PUT /_synapse/admin/v2/users/{userId}/devices/{deviceId}
func (a *API) adminRenameDevice(ctx context.Context, c *httpapi.Caller, q *adminDeviceRequest) (*none, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	_, err := a.renameDevice(ctx, &httpapi.Caller{User: q.User}, &renameDeviceRequest{q.DeviceID, q.DisplayName})
	return nil, err
}

// adminDeleteDevice ends a session of a user.
//
// Extension: DELETE /_synapse/admin/v2/users/{userId}/devices/{deviceId}
func (a *API) adminDeleteDevice(ctx context.Context, c *httpapi.Caller, q *adminDeviceRequest) (*none, error) {
	return a.adminDeleteDevices(ctx, c, &adminDeleteDevicesRequest{q.User, []matrix.DeviceID{q.DeviceID}})
}

type adminDeleteDevicesRequest struct {
	User    matrix.UserID     `path:"userID"`
	Devices []matrix.DeviceID `json:"devices" required:"true"`
}

// adminDeleteDevices ends some sessions of a user.
//
// Extension: POST /_synapse/admin/v2/users/{userId}/delete_devices
func (a *API) adminDeleteDevices(ctx context.Context, _ *httpapi.Caller, q *adminDeleteDevicesRequest) (*none, error) {
	if len(q.Devices) > maxDeleted {
		return nil, matrix.InvalidParam("more than %d devices", maxDeleted)
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	return nil, a.accounts.DeleteDevices(ctx, q.User, q.Devices)
}
