package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

const (
	synapseV1 = "/_synapse/admin/v1/"
	synapseV2 = "/_synapse/admin/v2/"
)

func (a *API) adminUserRoutes(r *httpapi.Router) {
	r.Handle("GET", synapseV1+"server_version", httpapi.Authed(a.adminVersion), httpapi.AdminsOnly())
	r.Handle("GET", synapseV1+"username_available", httpapi.Authed(a.usernameAvailable), httpapi.AdminsOnly())
	r.Handle("GET", synapseV1+"whois/{userID}", httpapi.Authed(a.whois), httpapi.AdminsOnly())
	r.Handle("GET", synapseV2+"users", httpapi.Authed(a.adminUsersOld), httpapi.AdminsOnly())
	r.Handle("GET", "/_synapse/admin/v3/users", httpapi.Authed(a.adminUsers), httpapi.AdminsOnly())
	r.Handle("GET", synapseV2+"users/{userID}", httpapi.Authed(a.adminUser), httpapi.AdminsOnly())
	r.Handle("PUT", synapseV2+"users/{userID}", httpapi.Authed(a.adminWriteUser), httpapi.AdminsOnly())
	r.Handle("POST", synapseV1+"deactivate/{userID}", httpapi.Authed(a.adminDeactivate), httpapi.AdminsOnly())
	r.Handle("POST", synapseV1+"reset_password/{userID}", httpapi.Authed(a.adminResetPassword), httpapi.AdminsOnly())
	r.Handle("GET", synapseV1+"users/{userID}/admin", httpapi.Authed(a.adminReadAdmin), httpapi.AdminsOnly())
	r.Handle("PUT", synapseV1+"users/{userID}/admin", httpapi.Authed(a.adminWriteAdmin), httpapi.AdminsOnly())
	r.Handle("PUT", synapseV1+"suspend/{userID}", httpapi.Authed(a.adminSuspend), httpapi.AdminsOnly())
}

type adminVersionResponse struct {
	Version string `json:"server_version"`
}

// adminVersion names the server. Tools ask it to see whether they may talk to this API.
//
// Extension: GET /_synapse/admin/v1/server_version
func (a *API) adminVersion(context.Context, *httpapi.Caller, *none) (*adminVersionResponse, error) {
	return &adminVersionResponse{"Astrocyte"}, nil
}

// adminUserEntry is an account as administrators see it.
type adminUserEntry struct {
	Name         matrix.UserID `json:"name"`
	DisplayName  *string       `json:"displayname"`
	AvatarURL    *string       `json:"avatar_url"`
	Guest        bool          `json:"is_guest"`
	Admin        bool          `json:"admin"`
	Deactivated  bool          `json:"deactivated"`
	Erased       bool          `json:"erased"`
	Locked       bool          `json:"locked"`
	Suspended    bool          `json:"suspended"`
	ShadowBanned bool          `json:"shadow_banned"`
	Created      int64         `json:"creation_ts"`
	AppService   *string       `json:"appservice_id"`
	UserType     *string       `json:"user_type"`
	Threepids    []struct{}    `json:"threepids"`
	ExternalIDs  []struct{}    `json:"external_ids"`
	LastSeen     *int64        `json:"last_seen_ts"`
}

func newAdminUser(u account.User, p account.Profile) adminUserEntry {
	return adminUserEntry{
		Name: u.ID, DisplayName: optional(p.DisplayName), AvatarURL: optional(p.AvatarURL), Guest: u.Kind == account.Guest,
		Admin: u.Admin, Deactivated: u.Deactivated != 0, Erased: u.Erased, Locked: u.Locked, Suspended: u.Suspended, ShadowBanned: u.Shadowed,
		Created: u.Created, AppService: optional(u.AppService), Threepids: []struct{}{}, ExternalIDs: []struct{}{},
	}
}

// optional is a text that is null where it is empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// page is the part of a list that is asked for: Synapse's admin API counts entries.
type page struct {
	From  int64  `query:"from"`
	Limit *int64 `query:"limit"`
}

// adminMost bounds the entries of one answer.
const adminMost = 1000

// bounds checks a page: where it begins, and how many entries it has.
func (p page) bounds() (from int64, limit int, err error) {
	n := int64(100)
	if p.Limit != nil {
		n = *p.Limit
	}
	if p.From < 0 || n < 0 {
		return 0, 0, matrix.InvalidParam("from and limit cannot be negative")
	}
	return p.From, int(min(n, adminMost)), nil
}

// next is the token of the following page, nil after the last one.
func (p page) next(got int, total int64) *string {
	end := p.From + int64(got)
	if got == 0 || end >= total {
		return nil
	}
	text := strconv.FormatInt(end, 10)
	return &text
}

type adminUsersRequest struct {
	page
	UserID      string `query:"user_id"`
	Name        string `query:"name"`
	Guests      *bool  `query:"guests"`
	Deactivated *bool  `query:"deactivated"`
	Admins      *bool  `query:"admins"`
	Locked      *bool  `query:"locked"`
	Order       string `query:"order_by"`
	Direction   string `query:"dir"`
}

type adminUsersResponse struct {
	Users []adminUserEntry `json:"users"`
	Total int64            `json:"total"`
	Next  *string          `json:"next_token,omitempty"`
}

// adminUsersOld lists accounts, and those that are deactivated only where that is asked for.
//
// Extension: GET /_synapse/admin/v2/users
func (a *API) adminUsersOld(ctx context.Context, c *httpapi.Caller, q *adminUsersRequest) (*adminUsersResponse, error) {
	all := q.Deactivated != nil && *q.Deactivated
	if q.Deactivated = nil; !all {
		q.Deactivated = new(bool)
	}
	return a.adminUsers(ctx, c, q)
}

// adminUsers lists accounts: all, those that are deactivated, or those that are not.
//
// Extension: GET /_synapse/admin/v3/users
func (a *API) adminUsers(ctx context.Context, _ *httpapi.Caller, q *adminUsersRequest) (*adminUsersResponse, error) {
	from, limit, err := q.bounds()
	if err != nil {
		return nil, err
	}
	search := q.Name
	if search == "" {
		search = q.UserID
	}
	users, total, err := a.accounts.FindUsers(ctx, account.UserQuery{
		Search: search, Deactivated: q.Deactivated, Guests: q.Guests, Admins: q.Admins, Locked: q.Locked,
		Order: q.Order, Backward: q.Direction == "b", Skip: from, Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	ids := make([]matrix.UserID, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	profiles, err := a.accounts.Profiles(ctx, ids)
	if err != nil {
		return nil, err
	}
	answer := &adminUsersResponse{Users: make([]adminUserEntry, len(users)), Total: total, Next: q.next(len(users), total)}
	for i, u := range users {
		answer.Users[i] = newAdminUser(u, profiles[u.ID])
	}
	return answer, nil
}

// adminUser tells of one account.
//
// Extension: GET /_synapse/admin/v2/users/{userId}
func (a *API) adminUser(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminUserEntry, error) {
	u, err := a.localUser(ctx, q.User)
	if err != nil {
		return nil, err
	}
	profiles, err := a.accounts.Profiles(ctx, []matrix.UserID{q.User})
	if err != nil {
		return nil, err
	}
	devices, err := a.accounts.Devices(ctx, q.User)
	if err != nil {
		return nil, err
	}
	answer := newAdminUser(u, profiles[q.User])
	for _, d := range devices {
		if d.LastSeen > 0 && (answer.LastSeen == nil || *answer.LastSeen < d.LastSeen) {
			answer.LastSeen = &d.LastSeen
		}
	}
	return &answer, nil
}

type adminWriteUserRequest struct {
	User          matrix.UserID `path:"userID"`
	Password      *string       `json:"password"`
	LogoutDevices *bool         `json:"logout_devices"`
	DisplayName   *string       `json:"displayname"`
	AvatarURL     *string       `json:"avatar_url"`
	Admin         *bool         `json:"admin"`
	Deactivated   *bool         `json:"deactivated"`
	Erase         bool          `json:"erase"`
	Locked        *bool         `json:"locked"`
	Suspended     *bool         `json:"suspended"`
}

// createdUser is the answer about an account that was made: status 201.
type createdUser struct {
	adminUserEntry
	fresh bool
}

// Status is 201 for a new account.
func (u *createdUser) Status() int {
	if u.fresh {
		return http.StatusCreated
	}
	return http.StatusOK
}

// adminWriteUser makes an account, or changes what is said of one that is there.
//
// Extension: PUT /_synapse/admin/v2/users/{userId}
func (a *API) adminWriteUser(ctx context.Context, c *httpapi.Caller, q *adminWriteUserRequest) (*createdUser, error) {
	if q.User.Server() != a.server {
		return nil, matrix.InvalidParam("%s is not a user of this server", q.User)
	}
	u, found, err := a.accounts.User(ctx, q.User)
	if err != nil {
		return nil, err
	}
	if err := a.mayChange(c, q, u, found); err != nil {
		return nil, err
	}
	if !found {
		if err := a.adminCreate(ctx, q); err != nil {
			return nil, err
		}
	}
	if err := a.adminChange(ctx, q, found); err != nil {
		return nil, err
	}
	entry, err := a.adminUser(ctx, c, &userRequest{q.User})
	if err != nil {
		return nil, err
	}
	return &createdUser{*entry, !found}, nil
}

// mayChange refuses what cannot be done, before anything is.
func (a *API) mayChange(c *httpapi.Caller, q *adminWriteUserRequest, u account.User, found bool) error {
	self := c.User == q.User
	switch {
	case found && u.Deactivated != 0 && (q.Deactivated == nil || !*q.Deactivated):
		return matrix.E(matrix.CodeUserDeactivated, "%s is deactivated, which cannot be undone", q.User)
	case self && (is(q.Admin, false) || is(q.Deactivated, true) || is(q.Locked, true) || is(q.Suspended, true)):
		return matrix.Forbidden("you cannot do this to yourself")
	case q.Password != nil:
		return a.accounts.CheckPassword(*q.Password)
	}
	return nil
}

func is(value *bool, what bool) bool { return value != nil && *value == what }

func (a *API) adminCreate(ctx context.Context, q *adminWriteUserRequest) error {
	if _, err := a.accounts.Available(ctx, q.User.Localpart()); err != nil {
		return err
	}
	u := account.NewUser{ID: q.User, Admin: is(q.Admin, true)}
	if q.Password != nil {
		u.Password = *q.Password
	}
	return a.accounts.CreateUser(ctx, u)
}

// adminChange does what the members of the request ask for. The end of the account comes last.
func (a *API) adminChange(ctx context.Context, q *adminWriteUserRequest, found bool) error {
	if q.Password != nil && found {
		if err := a.accounts.SetPassword(ctx, q.User, *q.Password, q.LogoutDevices == nil || *q.LogoutDevices, ""); err != nil {
			return err
		}
	}
	for field, text := range map[string]*string{"displayname": q.DisplayName, "avatar_url": q.AvatarURL} {
		if text == nil {
			continue
		}
		value, err := json.Marshal(*text)
		if err != nil {
			return err
		}
		if err := a.accounts.SetProfileField(ctx, q.User, field, value); err != nil {
			return err
		}
	}
	for flag, on := range map[account.Flag]*bool{account.Admin: q.Admin, account.Locked: q.Locked, account.Suspended: q.Suspended} {
		if on == nil {
			continue
		}
		if err := a.accounts.SetFlag(ctx, q.User, flag, *on); err != nil {
			return err
		}
	}
	if is(q.Deactivated, true) {
		return a.accounts.Deactivate(ctx, q.User, q.Erase)
	}
	return nil
}

type adminDeactivateRequest struct {
	User  matrix.UserID `path:"userID"`
	Erase bool          `json:"erase"`
}

type unbindResponse struct {
	Result string `json:"id_server_unbind_result"`
}

// adminDeactivate ends an account.
//
// Extension: POST /_synapse/admin/v1/deactivate/{userId}
func (a *API) adminDeactivate(ctx context.Context, c *httpapi.Caller, q *adminDeactivateRequest) (*unbindResponse, error) {
	if c.User == q.User {
		return nil, matrix.Forbidden("you cannot do this to yourself")
	}
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	return &unbindResponse{"success"}, a.accounts.Deactivate(ctx, q.User, q.Erase)
}

type adminPasswordRequest struct {
	User          matrix.UserID `path:"userID"`
	Password      string        `json:"new_password" required:"true"`
	LogoutDevices *bool         `json:"logout_devices"`
}

// adminResetPassword gives a user another password.
//
// Extension: POST /_synapse/admin/v1/reset_password/{userId}
func (a *API) adminResetPassword(ctx context.Context, _ *httpapi.Caller, q *adminPasswordRequest) (*none, error) {
	if _, err := a.localUser(ctx, q.User); err != nil {
		return nil, err
	}
	return nil, a.accounts.SetPassword(ctx, q.User, q.Password, q.LogoutDevices == nil || *q.LogoutDevices, "")
}

type adminFlag struct {
	Admin bool `json:"admin"`
}

// adminReadAdmin tells whether a user is an administrator.
//
// Extension: GET /_synapse/admin/v1/users/{userId}/admin
func (a *API) adminReadAdmin(ctx context.Context, _ *httpapi.Caller, q *userRequest) (*adminFlag, error) {
	u, err := a.localUser(ctx, q.User)
	if err != nil {
		return nil, err
	}
	return &adminFlag{u.Admin}, nil
}

type adminWriteAdminRequest struct {
	User  matrix.UserID `path:"userID"`
	Admin *bool         `json:"admin" required:"true"`
}

// adminWriteAdmin makes a user an administrator, or ends that.
//
// Extension: PUT /_synapse/admin/v1/users/{userId}/admin
func (a *API) adminWriteAdmin(ctx context.Context, c *httpapi.Caller, q *adminWriteAdminRequest) (*none, error) {
	u, err := a.localUser(ctx, q.User)
	if err != nil {
		return nil, err
	}
	if err := a.mayChange(c, &adminWriteUserRequest{User: q.User, Admin: q.Admin}, u, true); err != nil {
		return nil, err
	}
	return nil, a.accounts.SetFlag(ctx, q.User, account.Admin, *q.Admin)
}

type adminSuspendRequest struct {
	User    matrix.UserID `path:"userID"`
	Suspend *bool         `json:"suspend" required:"true"`
}

// adminSuspend suspends a user, or ends that.
//
// Extension: PUT /_synapse/admin/v1/suspend/{userId}
func (a *API) adminSuspend(ctx context.Context, _ *httpapi.Caller, q *adminSuspendRequest) (*map[string]bool, error) {
	if _, err := a.moderated(ctx, q.User); err != nil {
		return nil, err
	}
	if err := a.accounts.SetFlag(ctx, q.User, account.Suspended, *q.Suspend); err != nil {
		return nil, err
	}
	return &map[string]bool{"user_" + string(q.User) + "_suspended": *q.Suspend}, nil
}
