package clientapi

import (
	"context"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) adminRoutes(r *httpapi.Router) {
	const v1 = "/_matrix/client/v1/admin/"
	admins := httpapi.AdminsOnly()
	r.Handle("GET", v1+"lock/{userID}", httpapi.Authed(a.readLock), admins)
	r.Handle("PUT", v1+"lock/{userID}", httpapi.Authed(a.writeLock), admins)
	r.Handle("GET", v1+"suspend/{userID}", httpapi.Authed(a.readSuspension), admins)
	r.Handle("PUT", v1+"suspend/{userID}", httpapi.Authed(a.writeSuspension), admins)
	v3(r, "GET", "/admin/whois/{userID}", httpapi.Authed(a.whois))
	a.adminUserRoutes(r)
	a.adminDeviceRoutes(r)
	a.adminRoomRoutes(r)
	a.adminTokenRoutes(r)
	a.adminReportRoutes(r)
	a.adminNoticeRoutes(r)
	a.adminRoomViewRoutes(r)
	a.adminUserViewRoutes(r)
	a.adminTaskRoutes(r)
	a.adminFederationRoutes(r)
	a.adminMediaRoutes(r)
	a.adminQuarantineRoutes(r)
	a.adminModerationRoutes(r)
	a.adminGraphRoutes(r)
	a.adminToolRoutes(r)
	a.adminDoctorRoutes(r)
}

var errNoAdmin = matrix.Forbidden("only administrators of this server may do this")

// localUser finds an account of this server, in use or not, for an administrator.
func (a *API) localUser(ctx context.Context, id matrix.UserID) (account.User, error) {
	if id.Server() != a.server {
		return account.User{}, matrix.InvalidParam("%s is not a user of this server", id)
	}
	u, found, err := a.accounts.User(ctx, id)
	if err == nil && !found {
		err = matrix.NotFound("there is no user %s", id)
	}
	return u, err
}

// moderated finds the account that is to be locked or suspended: in use, and not an administrator's.
func (a *API) moderated(ctx context.Context, id matrix.UserID) (account.User, error) {
	u, err := a.localUser(ctx, id)
	switch {
	case err != nil:
		return u, err
	case u.Deactivated != 0:
		return u, matrix.NotFound("there is no user %s", id)
	case u.Admin:
		return u, matrix.Forbidden("%s is an administrator", id)
	}
	return u, nil
}

type userRequest struct {
	User matrix.UserID `path:"userID"`
}

type lockResponse struct {
	Locked bool `json:"locked"`
}

// readLock tells whether a user is locked.
//
// Spec: GET /_matrix/client/v1/admin/lock/{userId}
func (a *API) readLock(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*lockResponse, error) {
	u, err := a.moderated(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &lockResponse{u.Locked}, nil
}

type writeLockRequest struct {
	User   matrix.UserID `path:"userID"`
	Locked bool          `json:"locked" required:"true"`
}

// writeLock locks a user out, or ends that.
//
// Spec: PUT /_matrix/client/v1/admin/lock/{userId}
func (a *API) writeLock(ctx context.Context, _ *httpapi.Caller, q *writeLockRequest) (*lockResponse, error) {
	if _, err := a.moderated(ctx, q.User); err != nil {
		return nil, err
	}
	return &lockResponse{q.Locked}, a.accounts.SetFlag(ctx, q.User, account.Locked, q.Locked)
}

type suspensionResponse struct {
	Suspended bool `json:"suspended"`
}

// readSuspension tells whether a user is suspended.
//
// Spec: GET /_matrix/client/v1/admin/suspend/{userId}
func (a *API) readSuspension(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*suspensionResponse, error) {
	u, err := a.moderated(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &suspensionResponse{u.Suspended}, nil
}

type writeSuspensionRequest struct {
	User      matrix.UserID `path:"userID"`
	Suspended bool          `json:"suspended" required:"true"`
}

// writeSuspension suspends a user, or ends that.
//
// Spec: PUT /_matrix/client/v1/admin/suspend/{userId}
func (a *API) writeSuspension(ctx context.Context, _ *httpapi.Caller, q *writeSuspensionRequest) (*suspensionResponse, error) {
	if _, err := a.moderated(ctx, q.User); err != nil {
		return nil, err
	}
	return &suspensionResponse{q.Suspended}, a.accounts.SetFlag(ctx, q.User, account.Suspended, q.Suspended)
}

type connection struct {
	IP       string `json:"ip,omitempty"`
	LastSeen int64  `json:"last_seen,omitempty"`
	Agent    string `json:"user_agent,omitempty"`
}

type connections struct {
	Connections []connection `json:"connections"`
}

type deviceSessions struct {
	Sessions []connections `json:"sessions"`
}

type whoisResponse struct {
	User    matrix.UserID                      `json:"user_id"`
	Devices map[matrix.DeviceID]deviceSessions `json:"devices"`
}

// whois tells from where a user's devices were last seen, to administrators and to the user.
//
// Spec: GET /_matrix/client/v3/admin/whois/{userId}
func (a *API) whois(ctx context.Context, c *httpapi.Caller, q *userRequest) (*whoisResponse, error) {
	if !c.Admin && c.User != q.User {
		return nil, errNoAdmin
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	devices, err := a.accounts.Devices(ctx, q.User)
	if err != nil {
		return nil, err
	}
	answer := &whoisResponse{User: q.User, Devices: map[matrix.DeviceID]deviceSessions{}}
	for _, d := range devices {
		seen := []connection{}
		if d.LastSeen != 0 {
			seen = append(seen, connection{d.LastIP, d.LastSeen, d.Agent})
		}
		answer.Devices[d.ID] = deviceSessions{[]connections{{seen}}}
	}
	return answer, nil
}
