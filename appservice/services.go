package appservice

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/e2ee"
	"astrocyte/ephemeral"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what application services need.
type Options struct {
	DB       *store.DB
	Bus      bus.Bus
	Accounts *account.Accounts
	Rooms    *roomserver.Rooms
	// Ephemeral has what is passed on of typing, receipts and presence.
	Ephemeral  *ephemeral.Ephemeral
	Encryption *e2ee.Encryption
	// PresenceRoom is how many members a room has at most whose presence is told; 0: nobody's is.
	PresenceRoom int
	Services     []*Service
	Log          *slog.Logger
}

// Services are the application services of this server.
type Services struct {
	db       *store.DB
	bus      bus.Bus
	accounts *account.Accounts
	rooms    *roomserver.Rooms
	all      []*Service
	log      *slog.Logger
	client   *http.Client

	ephemeral    *ephemeral.Ephemeral
	encryption   *e2ee.Encryption
	presenceRoom int
}

// New makes the application services.
func New(o Options) *Services {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Services{
		db: o.DB, bus: o.Bus, accounts: o.Accounts, rooms: o.Rooms, all: o.Services, log: o.Log,
		ephemeral: o.Ephemeral, encryption: o.Encryption, presenceRoom: o.PresenceRoom,
		client: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, Proxy: http.ProxyFromEnvironment},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it would get the token
		},
	}
}

// Run makes the users by whose names the services act, and brings the services their events.
func (s *Services) Run(ctx context.Context) error {
	for _, service := range s.all {
		if err := s.makeSender(ctx, service); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, service := range s.all {
		if service.URL != "" {
			g.Go(func() error { return s.lane(service).run(ctx) })
		}
	}
	g.Go(func() error { // without a service, too, it runs as long as the server does
		<-ctx.Done()
		s.client.CloseIdleConnections()
		return nil
	})
	return g.Wait()
}

func (s *Services) makeSender(ctx context.Context, service *Service) error {
	err := s.accounts.CreateUser(ctx, account.NewUser{ID: service.Sender, Kind: account.Bridged, AppService: service.ID})
	var fault *matrix.Error
	if errors.As(err, &fault) && fault.Code == matrix.CodeUserInUse {
		return nil
	}
	return err
}

// ByToken finds the service that has a token. It takes the same time whichever it is.
func (s *Services) ByToken(token string) (found *Service) {
	sum := sha256.Sum256([]byte(token))
	for _, service := range s.all {
		if subtle.ConstantTimeCompare(sum[:], service.asToken[:]) == 1 {
			found = service
		}
	}
	return found
}

// Reserves says whether a user may be made by a service alone.
func (s *Services) Reserves(user matrix.UserID) bool { return s.UserTaken(user, nil) }

// UserTaken says whether a user may be made by another service alone.
func (s *Services) UserTaken(user matrix.UserID, but *Service) bool {
	for _, service := range s.all {
		_, exclusive := claims(service.users, string(user))
		if service != but && (exclusive || user == service.Sender) {
			return true
		}
	}
	return false
}

// AliasTaken says whether an alias may be made by another service alone.
func (s *Services) AliasTaken(alias matrix.RoomAlias, but *Service) bool {
	for _, service := range s.all {
		if _, exclusive := claims(service.aliases, string(alias)); exclusive && service != but {
			return true
		}
	}
	return false
}

// Of is the service that a request came from, nil where it came from a user.
func Of(c *httpapi.Caller) *Service {
	service, _ := c.AppService.(*Service)
	return service
}

// Authenticate finds the callers of access tokens: services by their as_token, and others as next does.
// A service acts for its sender, or the user and the device that it names.
//
// Spec: AS "Identity assertion".
func (s *Services) Authenticate(next httpapi.Authenticator) httpapi.Authenticator {
	return func(ctx context.Context, token string, r *http.Request) (*httpapi.Caller, error) {
		service := s.ByToken(token)
		if service == nil {
			return next(ctx, token, r)
		}
		q := r.URL.Query()
		user := service.Sender
		if name := q.Get("user_id"); name != "" {
			var err error
			if user, err = matrix.ParseUserID(name); err != nil || user.Server() != s.accounts.Server() || !service.ActsFor(user) {
				return nil, matrix.Forbidden("the application service may not act for this user")
			}
		}
		u, found, err := s.accounts.User(ctx, user)
		if err == nil && !found && user == service.Sender { // it asks before Run has come to it
			if err = s.makeSender(ctx, service); err == nil {
				u, found, err = s.accounts.User(ctx, user)
			}
		}
		if err != nil {
			return nil, err
		}
		if !found || u.Deactivated != 0 {
			return nil, matrix.Forbidden("the application service has not registered this user")
		}
		c := &httpapi.Caller{
			User: user, AppService: service, Locked: u.Locked, Suspended: u.Suspended, Shadowed: u.Shadowed, Admin: u.Admin,
			Unlimited: !service.RateLimited || user == service.Sender || u.Limit.Rate == 0, Messages: u.Limit.Messages(),
		}
		device := q.Get("device_id")
		if device == "" {
			device = q.Get("org.matrix.msc3202.device_id")
		}
		if err := s.as(ctx, c, matrix.DeviceID(device)); err != nil {
			return nil, err
		}
		return c, nil
	}
}

// as makes the caller act for one of its user's devices.
func (s *Services) as(ctx context.Context, c *httpapi.Caller, device matrix.DeviceID) error {
	if device == "" {
		return nil
	}
	_, found, err := s.accounts.Device(ctx, c.User, device)
	if err == nil && !found {
		err = matrix.E(matrix.CodeUnknownDevice, "the user has no such device").WithStatus(http.StatusBadRequest)
	}
	c.Device = device
	return err
}
