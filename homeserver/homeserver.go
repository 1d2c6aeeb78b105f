package homeserver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"astrocyte/account"
	"astrocyte/appservice"
	"astrocyte/config"
	"astrocyte/egress"
	"astrocyte/federation/peer"
	"astrocyte/federation/remote"
	"astrocyte/federation/sender"
	"astrocyte/httpapi"
	"astrocyte/media"
	"astrocyte/policy"
	"astrocyte/roomserver"
	"astrocyte/search"
	"astrocyte/store"
)

// Options are what a Server is made from.
type Options struct {
	Config *config.Config
	// Version is that of the program.
	Version string
	Log     *slog.Logger
	// Level is the level of Log, which a reload sets. It may be nil.
	Level *slog.LevelVar
	// Hangup tells to read the settings again, by Reread. Both may be nil.
	Hangup <-chan os.Signal
	Reread func() (*config.Config, error)
	// Now is the clock, nil for the real one.
	Now func() time.Time
}

// Server is a whole server: one node.
type Server struct {
	o        Options
	log      *slog.Logger
	key      SigningKey
	db       *store.DB
	now      func() time.Time
	accounts *account.Accounts
	rooms    *roomserver.Rooms
	search   *search.Search
	services *appservice.Services
	policy   *policy.Policy
	media    *media.Repository
	router   *httpapi.Router
	limiter  *httpapi.Limiter
	// outside judges connections to other servers, and authorities are trusted there; nil: those of the system.
	outside     *egress.Policy
	authorities *x509.CertPool
	peers       *peer.Client
	sender      *sender.Sender // nil where the server stands alone
	keys        *peer.Keys
	remote      *remote.Remote

	listeners []*listener
	metrics   *listener    // nil where metrics are off
	control   net.Listener // nil where there is no control socket
	ready     atomic.Bool
	parts     []part // from the ground up
}

// New makes every part of a server and opens its addresses. What it has opened is closed by Run, or by
// Close where Run is not called.
func New(ctx context.Context, o Options) (*Server, error) {
	s := &Server{o: o, log: o.Log, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.make(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) make(ctx context.Context) error {
	dir := s.o.Config.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	var err error
	if s.key, err = LoadKey(dir); err != nil {
		return err
	}
	if err := s.makeParts(ctx); err != nil {
		return err
	}
	return s.open()
}

// runs adds a part that runs.
func (s *Server) runs(name string, run func(context.Context) error) {
	s.parts = append(s.parts, part{name, run})
}

func (s *Server) logOf(part string) *slog.Logger { return s.log.With("part", part) }

// open opens the addresses.
func (s *Server) open() error {
	for _, c := range s.o.Config.Listeners {
		l, err := listen(c)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	if address := s.o.Config.Metrics.Address; address != "" {
		l, err := listen(config.Listener{Address: address})
		if err != nil {
			return err
		}
		s.metrics = l
	}
	var err error
	if s.control, err = listenControl(s.o.Config.DataDir); err != nil {
		s.log.Warn("there is no control socket: commands such as user create need the server stopped", "error", err)
	}
	return nil
}

// Run runs the server until ctx ends, and stops it in order: it answers that it is not ready, lets the
// running requests end, and stops the parts.
func (s *Server) Run(ctx context.Context) error {
	s.runs("reload", s.reloads)
	s.runs("memory", s.tidies)
	if s.control != nil {
		s.runs("control", s.serveControl)
	}
	if s.metrics != nil {
		s.runs("metrics", s.serveMetrics)
	}
	if len(s.listeners) > 0 {
		s.runs("http", s.serve)
	}
	err := runParts(ctx, s.parts)
	return errors.Join(err, s.Close())
}

func (s *Server) serve(ctx context.Context) error {
	s.ready.Store(true)
	defer context.AfterFunc(ctx, func() { s.ready.Store(false) })()
	for _, l := range s.listeners {
		s.log.Info("listening", "url", l.url(), "server", s.o.Config.ServerName)
	}
	return serveHTTP(ctx, s.listeners, s.router, s.log)
}

func (s *Server) serveMetrics(ctx context.Context) error {
	return serveHTTP(ctx, []*listener{s.metrics}, s.metricsHandler(), s.log)
}

// Close closes what New has opened.
func (s *Server) Close() error {
	for _, l := range s.listeners {
		_ = l.Close() // closed by the stop of the HTTP server, where that has run
	}
	if s.metrics != nil {
		_ = s.metrics.Close()
	}
	if s.control != nil {
		_ = s.control.Close()
	}
	if s.peers != nil {
		s.peers.Close()
	}
	if s.db != nil {
		return s.db.Close()
	}
	return nil
}

// URLs are how the server is reached on this machine, one for each listener.
func (s *Server) URLs() []string {
	var urls []string
	for _, l := range s.listeners {
		urls = append(urls, l.url())
	}
	return urls
}

// Handler is what the listeners serve.
func (s *Server) Handler() http.Handler { return s.router }

// Control is what the control socket serves.
func (s *Server) Control() http.Handler { return s.controlRouter() }
