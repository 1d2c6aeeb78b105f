// Package federation is the other servers' door: what they ask and bring at /_matrix/federation and
// /_matrix/key. Each group of endpoints stands in a file of its own: routes, request types, response types and
// handlers. A handler translates between HTTP and the parts below; it decides nothing that they could decide.
//
// Invariants:
//   - but for keys and the version nothing is answered that was not signed, for this server, by a server that
//     it speaks with: Caller.Origin;
//   - a server is told of a room only what it may see: that it is in the room, and that the room's ACL lets it,
//     is checked before anything is read;
//   - a handler answers by its typed response, or by an error: a *matrix.Error is the caller's fault.
package federation

import (
	"time"

	"astrocyte/account"
	"astrocyte/appservice"
	"astrocyte/e2ee"
	"astrocyte/federation/inbound"
	"astrocyte/federation/peer"
	"astrocyte/federation/remote"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/push"
	"astrocyte/roomserver"
)

// Parts are what the endpoints are served from.
type Parts struct {
	Server     matrix.ServerName
	Version    string // of the program
	WellKnown  string // where other servers reach this one; empty: not told
	Directory  bool   // whether other servers may read the room directory
	Keys       *peer.Keys
	Accounts   *account.Accounts
	Services   *appservice.Services
	Rooms      *roomserver.Rooms
	Encryption *e2ee.Encryption
	Media      *media.Repository
	Push       *push.Push
	Inbound    *inbound.Inbound
	Remote     *remote.Remote
	Now        func() time.Time
}

// API is the server-server API.
type API struct {
	server     matrix.ServerName
	version    string
	wellKnown  string
	directory  bool
	keys       *peer.Keys
	accounts   *account.Accounts
	services   *appservice.Services
	rooms      *roomserver.Rooms
	encryption *e2ee.Encryption
	media      *media.Repository
	push       *push.Push
	inbound    *inbound.Inbound
	remote     *remote.Remote
	now        func() time.Time
}

// New makes the API from the parts that serve it.
func New(p Parts) *API {
	return &API{
		server: p.Server, version: p.Version, wellKnown: p.WellKnown, directory: p.Directory, keys: p.Keys, accounts: p.Accounts, services: p.Services, rooms: p.Rooms,
		encryption: p.Encryption, media: p.Media, push: p.Push, inbound: p.Inbound, remote: p.Remote, now: p.Now,
	}
}

// Routes registers all endpoints.
func (a *API) Routes(r *httpapi.Router) {
	a.versionRoutes(r)
	a.keyRoutes(r)
	a.queryRoutes(r)
	a.transactionRoutes(r)
	a.joinRoutes(r)
	a.leaveRoutes(r)
	a.inviteRoutes(r)
	a.thirdPartyRoutes(r)
	a.eventRoutes(r)
	a.stateRoutes(r)
	a.publicRoomRoutes(r)
	a.openIDRoutes(r)
	a.mediaRoutes(r)
	a.hierarchyRoutes(r)
	a.deviceRoutes(r)
	a.timeRoutes(r)
}

// none is a request without parameters.
type none struct{}
