package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) deviceRoutes(r *httpapi.Router) {
	v3(r, "GET", "/devices", httpapi.Authed(a.devices), httpapi.GuestsToo())
	v3(r, "GET", "/devices/{deviceID}", httpapi.Authed(a.device), httpapi.GuestsToo())
	v3(r, "PUT", "/devices/{deviceID}", httpapi.Authed(a.renameDevice), httpapi.GuestsToo(), httpapi.Limit("ephemeral"))
	v3(r, "DELETE", "/devices/{deviceID}", httpapi.Authed(a.deleteDevice), httpapi.Limit("login"))
	v3(r, "POST", "/delete_devices", httpapi.Authed(a.deleteDevices), httpapi.Limit("login"))
}

type deviceResponse struct {
	DeviceID    matrix.DeviceID `json:"device_id"`
	DisplayName string          `json:"display_name,omitempty"`
	LastSeenIP  string          `json:"last_seen_ip,omitempty"`
	LastSeenTS  int64           `json:"last_seen_ts,omitempty"`
}

func newDeviceResponse(d account.Device) deviceResponse {
	return deviceResponse{DeviceID: d.ID, DisplayName: d.Name, LastSeenIP: d.LastIP, LastSeenTS: d.LastSeen}
}

type devicesResponse struct {
	Devices []deviceResponse `json:"devices"`
}

// devices lists the caller's devices.
//
// Spec: GET /_matrix/client/v3/devices
func (a *API) devices(ctx context.Context, c *httpapi.Caller, _ *none) (*devicesResponse, error) {
	devices, err := a.accounts.Devices(ctx, c.User)
	if err != nil {
		return nil, err
	}
	answer := &devicesResponse{Devices: make([]deviceResponse, len(devices))}
	for i, d := range devices {
		answer.Devices[i] = newDeviceResponse(d)
	}
	return answer, nil
}

type deviceRequest struct {
	DeviceID matrix.DeviceID `path:"deviceID"`
}

var errNoDevice = matrix.NotFound("there is no such device")

// device tells of one of the caller's devices.
//
// Spec: GET /_matrix/client/v3/devices/{deviceId}
func (a *API) device(ctx context.Context, c *httpapi.Caller, q *deviceRequest) (*deviceResponse, error) {
	d, found, err := a.accounts.Device(ctx, c.User, q.DeviceID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoDevice
	}
	answer := newDeviceResponse(d)
	return &answer, nil
}

type renameDeviceRequest struct {
	DeviceID    matrix.DeviceID `path:"deviceID"`
	DisplayName *string         `json:"display_name"`
}

// createdDevice is the answer of who may have made a device: status 201.
type createdDevice struct{ fresh bool }

// Status is 201 for a new device.
func (d *createdDevice) Status() int {
	if d.fresh {
		return http.StatusCreated
	}
	return http.StatusOK
}

// renameDevice names one of the caller's devices. Application services make devices so, too.
//
// Spec: PUT /_matrix/client/v3/devices/{deviceId}
func (a *API) renameDevice(ctx context.Context, c *httpapi.Caller, q *renameDeviceRequest) (*createdDevice, error) {
	name := ""
	if q.DisplayName != nil {
		name = *q.DisplayName
	}
	if err := account.CheckDevice(q.DeviceID, name); err != nil {
		return nil, err
	}
	if c.AppService != nil {
		fresh, err := a.accounts.CreateDevice(ctx, c.User, account.NewDevice{ID: q.DeviceID, Name: name})
		if err != nil || fresh {
			return &createdDevice{fresh}, err
		}
	}
	if q.DisplayName == nil {
		_, err := a.device(ctx, c, &deviceRequest{q.DeviceID})
		return nil, err
	}
	found, err := a.accounts.RenameDevice(ctx, c.User, q.DeviceID, *q.DisplayName)
	if err == nil && !found {
		err = errNoDevice
	}
	return nil, err
}

type deleteDeviceRequest struct {
	DeviceID matrix.DeviceID `path:"deviceID"`
	Auth     json.RawMessage `json:"auth"`
}

// deleteDevice ends one of the caller's sessions.
//
// Spec: DELETE /_matrix/client/v3/devices/{deviceId}
func (a *API) deleteDevice(ctx context.Context, c *httpapi.Caller, q *deleteDeviceRequest) (*none, error) {
	endpoint := "DELETE /devices/" + string(q.DeviceID)
	return nil, a.deleteConfirmed(ctx, c, endpoint, []matrix.DeviceID{q.DeviceID}, q.Auth)
}

type deleteDevicesRequest struct {
	Devices []matrix.DeviceID `json:"devices" required:"true"`
	Auth    json.RawMessage   `json:"auth"`
}

// maxDeleted bounds the devices of one request.
const maxDeleted = 10_000

// deleteDevices ends some of the caller's sessions.
//
// Spec: POST /_matrix/client/v3/delete_devices
func (a *API) deleteDevices(ctx context.Context, c *httpapi.Caller, q *deleteDevicesRequest) (*none, error) {
	if len(q.Devices) > maxDeleted {
		return nil, matrix.InvalidParam("more than %d devices", maxDeleted)
	}
	slices.Sort(q.Devices)
	return nil, a.deleteConfirmed(ctx, c, "POST /delete_devices", slices.Compact(q.Devices), q.Auth)
}

// deleteConfirmed deletes devices when the caller has given their password. Application services have none.
func (a *API) deleteConfirmed(ctx context.Context, c *httpapi.Caller, endpoint string, ids []matrix.DeviceID, auth json.RawMessage) error {
	if c.AppService == nil {
		o := account.Operation{Endpoint: endpoint, User: c.User, Body: ids, Auth: auth, Flows: account.PasswordFlow}
		if _, err := a.accounts.Confirm(ctx, o); err != nil {
			return err
		}
	}
	return a.accounts.DeleteDevices(ctx, c.User, ids)
}
