package syncapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/e2ee"
	"astrocyte/ephemeral"
	"astrocyte/httpapi"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what the API needs.
type Options struct {
	DB         *store.DB
	Bus        bus.Bus
	Rooms      *roomserver.Rooms
	Accounts   *account.Accounts
	Ephemeral  *ephemeral.Ephemeral
	Push       *push.Push
	Encryption *e2ee.Encryption
	Log        *slog.Logger
	Now        func() time.Time

	// PresenceRoom is how many members a room has at most in which the members are told of the presence of
	// each other; 0: nobody is.
	PresenceRoom int

	// LargeRoom is how many may wait for news in a room to be woken all at once; in larger ones they are woken in
	// turns. 0: all always are.
	LargeRoom int

	// ParkAfter is how long a poll waits in its handler before its connection is parked: in a busy room it would
	// be taken out again at once.
	ParkAfter time.Duration

	// Limiter limits what is asked over sockets; nil limits nothing.
	Limiter *httpapi.Limiter
}

// API serves /sync and the WebSocket extension.
type API struct {
	db         *store.DB
	rooms      *roomserver.Rooms
	accounts   *account.Accounts
	log        *slog.Logger
	now        func() time.Time
	ephemeral  *ephemeral.Ephemeral
	push       *push.Push
	encryption *e2ee.Encryption
	limiter    *httpapi.Limiter
	waker      *waker
	sockets    *sockets
	sent       *sent
	recents    *lru.Cache[recentKey, *recent]
	filters    *lru.Cache[filterKey, *filter]
	lot        *lot
	parkAfter  time.Duration

	// What sliding sync keeps in memory.
	listings    *lru.Cache[matrix.UserID, *listing]
	pasts       *lru.Cache[pastKey, *pastRoom]
	connections *lru.Cache[generationKey, *connection]
}

// New makes the API.
func New(o Options) *API {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	waker := newWaker(o.DB, o.Bus, o.Log, o.Now)
	waker.circles = newCircles(&o, waker.users)
	a := &API{
		db: o.DB, rooms: o.Rooms, accounts: o.Accounts, log: o.Log, now: o.Now,
		waker: waker, sent: newSent(), recents: newRecents(), filters: lru.New[filterKey, *filter](filtersMemory),
		limiter: o.Limiter, ephemeral: o.Ephemeral, sockets: newSockets(),
		push: o.Push, encryption: o.Encryption,
		listings: newListings(), pasts: newPasts(), connections: newConnections(),
	}
	waker.turns = newTurns(o.LargeRoom)
	waker.warm, a.lot, a.parkAfter = a.warm, newLot(a), o.ParkAfter
	return a
}

// Routes registers the endpoints.
func (a *API) Routes(r *httpapi.Router) {
	for _, version := range []string{"/_matrix/client/v3", "/_matrix/client/r0"} {
		r.Handle(http.MethodGet, version+"/sync", httpapi.Raw(a.sync), httpapi.GuestsToo())
		r.Handle(http.MethodGet, version+"/events", httpapi.Raw(a.events), httpapi.GuestsToo())
		r.Handle(http.MethodGet, version+"/initialSync", httpapi.Authed(a.initialSync), httpapi.Limit("create"))
	}
	a.slidingRoutes(r)
	r.Handle(http.MethodGet, "/_matrix/client/unstable/im.astrocyte.sync/ws", httpapi.RawOpen(a.openSocket))
}

// authenticate finds the caller of an access token that did not come with a request.
func (a *API) authenticate(ctx context.Context, token string, r *http.Request) (*httpapi.Caller, error) {
	return a.accounts.Authenticate(ctx, token, r)
}

// Run wakes those who wait, until ctx ends.
func (a *API) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.waker.Run(ctx) })
	g.Go(func() error { return a.lot.run(ctx) })
	g.Go(func() error { return a.sockets.run(ctx) })
	g.Go(func() error { return a.sweepConnections(ctx) })
	g.Go(func() error { return a.hearDeliveries(ctx) })
	return g.Wait()
}
