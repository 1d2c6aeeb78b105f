package homeserver

import (
	"context"
	"net/http"
	"net/netip"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/httpapi"
	"astrocyte/store"
)

// makeParts makes the parts from the ground up, and lists those that run.
func (s *Server) makeParts(ctx context.Context) error {
	c := s.o.Config
	wakes := bus.NewLocal()
	s.runs("bus", wakes.Run)

	var err error
	s.db, err = store.Open(ctx, store.Options{DSN: c.DSN(), Bus: wakes, Log: s.logOf("store")})
	if err != nil {
		return err
	}
	s.runs("store", s.db.Run)

	trusted := prefixesOf(c.TrustedProxies)
	s.accounts = account.New(account.Options{
		DB: s.db, Bus: wakes, Log: s.logOf("account"), Server: c.ServerName, Now: s.o.Now,
		Registration: c.Registration, Passwords: c.Passwords, Sessions: c.Sessions,
		ClientAddress: func(r *http.Request) netip.Addr { return httpapi.ClientAddress(r, trusted) },
	})
	s.runs("account", s.accounts.Run)
	s.makeRouter(trusted)
	return nil
}

// makeRouter makes the HTTP layer and gives it the routes of all doors.
func (s *Server) makeRouter(trusted []netip.Prefix) {
	c := s.o.Config
	s.limiter = httpapi.NewLimiter(limitsOf(c.RateLimits), s.o.Now)
	s.router = httpapi.New(httpapi.Options{
		Log:            s.logOf("http"),
		Authenticate:   s.accounts.Authenticate,
		Limiter:        s.limiter,
		TrustedProxies: trusted,
		NoQueryToken:   !c.Clients.QueryAccessToken,
		BodyLimit:      int64(c.Clients.MaxBody),
	})
	s.healthRoutes(s.router)
}
