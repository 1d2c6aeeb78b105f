// Package clientapi is the clients' door: the client-server API except /sync. Each group of endpoints
// stands in a file of its own: routes, request types, response types and handlers. A handler translates
// between HTTP and the parts below; it decides nothing that they could decide.
//
// Invariants:
//   - no SQL, no store, no bus: what is stored is stored by the parts;
//   - a handler answers by its typed response, or by an error: a *matrix.Error is the caller's fault;
//   - who may do what is checked before anything is changed.
package clientapi

import (
	"time"

	"astrocyte/account"
	"astrocyte/appservice"
	"astrocyte/attached"
	"astrocyte/config"
	"astrocyte/delayed"
	"astrocyte/e2ee"
	"astrocyte/ephemeral"
	"astrocyte/federation/remote"
	"astrocyte/federation/sender"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/policy"
	"astrocyte/push"
	"astrocyte/roomserver"
	"astrocyte/search"
)

// Parts are what the endpoints are served from.
type Parts struct {
	Server     matrix.ServerName
	PublicURL  string // where clients reach this server; empty: not told
	Support    config.Support
	Accounts   *account.Accounts
	Rooms      *roomserver.Rooms
	Ephemeral  *ephemeral.Ephemeral
	Media      *media.Repository
	Attached   *attached.Attached
	Policy     *policy.Policy
	Delayed    *delayed.Delayed
	Services   *appservice.Services // nil: none
	Push       *push.Push
	Encryption *e2ee.Encryption
	Search     *search.Search
	Remote     *remote.Remote
	Sender     *sender.Sender // nil where the server stands alone
	Calls      config.Calls
	Limiter    *httpapi.Limiter // nil: nothing is limited
	Now        func() time.Time
	// DefaultVersion is the version of new rooms where the client names none.
	DefaultVersion matrix.RoomVersion
	// Position reads the position of the stream out of a token of /sync.
	Position func(token string) (int64, error)
}

// API is the client-server API.
type API struct {
	server     matrix.ServerName
	publicURL  string
	support    config.Support
	accounts   *account.Accounts
	rooms      *roomserver.Rooms
	version    matrix.RoomVersion
	ephemeral  *ephemeral.Ephemeral
	media      *media.Repository
	attached   *attached.Attached
	policy     *policy.Policy
	delayed    *delayed.Delayed
	services   *appservice.Services
	push       *push.Push
	encryption *e2ee.Encryption
	search     *search.Search
	remote     *remote.Remote
	sender     *sender.Sender
	calls      config.Calls
	limiter    *httpapi.Limiter
	now        func() time.Time
	position   func(token string) (int64, error)
}

// New makes the API from the parts that serve it.
func New(p Parts) *API {
	if p.Services == nil {
		p.Services = appservice.New(appservice.Options{Accounts: p.Accounts, Rooms: p.Rooms})
	}
	if p.Remote == nil {
		p.Remote = remote.Alone(p.Server, p.Rooms)
	}
	return &API{
		services: p.Services,
		delayed:  p.Delayed,
		server:   p.Server, publicURL: p.PublicURL, support: p.Support, accounts: p.Accounts, rooms: p.Rooms, version: p.DefaultVersion, ephemeral: p.Ephemeral, push: p.Push, encryption: p.Encryption,
		calls: p.Calls, limiter: p.Limiter, now: p.Now, position: p.Position,
		media: p.Media, attached: p.Attached, search: p.Search, remote: p.Remote, sender: p.Sender,
		policy: p.Policy,
	}
}

// Routes registers all endpoints.
func (a *API) Routes(r *httpapi.Router) {
	a.capabilityRoutes(r)
	a.loginRoutes(r)
	a.loginTokenRoutes(r)
	a.registerRoutes(r)
	a.threepidRoutes(r)
	a.passwordRoutes(r)
	a.deviceRoutes(r)
	a.profileRoutes(r)
	a.accountDataRoutes(r)
	a.filterRoutes(r)
	a.adminRegisterRoutes(r)
	a.adminRoutes(r)
	a.appServiceRoutes(r)
	a.callRoutes(r)
	a.roomRoutes(r)
	a.membershipRoutes(r)
	a.sendRoutes(r)
	a.redactUserRoutes(r)
	a.delayedRoutes(r)
	a.historyRoutes(r)
	a.relationRoutes(r)
	a.reportRoutes(r)
	a.spaceRoutes(r)
	a.peekRoutes(r)
	a.directoryRoutes(r)
	a.typingRoutes(r)
	a.receiptRoutes(r)
	a.presenceRoutes(r)
	a.mediaRoutes(r)
	a.keyRoutes(r)
	a.crossSigningRoutes(r)
	a.toDeviceRoutes(r)
	a.keyBackupRoutes(r)
	a.dehydratedRoutes(r)
	a.searchRoutes(r)
	a.userDirectoryRoutes(r)
	a.pushRuleRoutes(r)
	a.pusherRoutes(r)
	a.notificationRoutes(r)
	a.threadRoutes(r)
}

// v3 registers an endpoint of /_matrix/client/v3, which has the same form in the older r0.
func v3(r *httpapi.Router, method, path string, h httpapi.Handler, opts ...httpapi.Option) {
	r.Handle(method, "/_matrix/client/v3"+path, h, opts...)
	r.Handle(method, "/_matrix/client/r0"+path, h, opts...)
}

// own refuses what a user asks for another.
func own(c *httpapi.Caller, user matrix.UserID) error {
	if c.User != user {
		return matrix.Forbidden("this belongs to another user")
	}
	return nil
}

// none is a request without parameters.
type none struct{}
