package story

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/homeserver"
	"astrocyte/matrix"
)

// Server is a whole server that runs within the test and is reached over real HTTP. What it logs is shown
// where the test fails, and an error in its log fails the test: every such error is a fault of the server.
type Server struct {
	// URL is where the server is.
	URL string

	t      testing.TB
	config *config.Config
	log    *slog.Logger
	lost   *atomic.Bool // it did not stop, and may log when the test is long over
	client *http.Client

	stop    context.CancelFunc
	stopped chan error
	users   int
}

const (
	// answerTime is how long an answer is waited for, and stopTime how long the end of a server: both come soon, but not
	// on a busy machine.
	answerTime = 5 * time.Minute
	stopTime   = 2 * time.Minute
)

// Option changes how a server is started.
type Option func(*config.Config)

// Start starts a server on a database, and stops it when the test ends. Registration is open, nothing is
// limited, and passwords are hashed cheaply.
func Start(t testing.TB, dsn string, options ...Option) *Server {
	t.Helper()
	c := config.Default()
	c.ServerName = "localhost"
	c.DataDir = t.TempDir()
	c.Database = dsn
	c.Listeners = []config.Listener{{Address: "127.0.0.1:0"}}
	c.Clients.ParkAfter = 0 // so that stories meet parked connections
	c.Registration.Enabled = true
	c.RateLimits.Enabled = false
	c.Passwords.Hash, c.Passwords.BcryptCost = "bcrypt", 4
	c.Federation.KeyNotaries = nil
	for _, o := range options {
		o(c)
	}
	return startWith(t, c)
}

// Node starts another node of the same server: on the same database, at an address of its own.
func (s *Server) Node() *Server {
	s.t.Helper()
	c := *s.config
	c.DataDir = s.t.TempDir()
	c.Listeners = []config.Listener{{Address: "127.0.0.1:0"}}
	key, err := os.ReadFile(filepath.Join(s.config.DataDir, "signing.key"))
	if err != nil {
		s.t.Fatalf("the first node's key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(c.DataDir, "signing.key"), key, 0o600); err != nil {
		s.t.Fatalf("the second node's key: %v", err)
	}
	return startWith(s.t, &c)
}

func startWith(t testing.TB, c *config.Config) *Server {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	if through := os.Getenv("ASTROCYTE_TEST_PROXY"); through != "" { // what is said in stories can be listened to
		to, err := url.Parse(through)
		if err != nil {
			t.Fatalf("ASTROCYTE_TEST_PROXY must be a URL: %v", err)
		}
		transport.Proxy = http.ProxyURL(to) // also to this machine, which the usual variables leave out
	}
	s := &Server{t: t, config: c, client: &http.Client{Transport: transport, Timeout: answerTime}}
	s.lost = new(atomic.Bool)
	s.log = slog.New(&strictLog{t: t, lost: s.lost, Handler: slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})})
	s.start()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Stop()
	})
	return s
}

func (s *Server) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	hs, err := homeserver.New(ctx, homeserver.Options{Config: s.config, Log: s.log})
	if err != nil {
		cancel()
		s.t.Fatalf("start a server: %v", err)
	}
	s.URL = hs.URLs()[0]
	s.config.Listeners[0].Address = strings.TrimPrefix(s.URL, "http://")
	s.stop, s.stopped = cancel, make(chan error, 1)
	go func() { s.stopped <- hs.Run(ctx) }()
}

// ServerName is the server's name.
func (s *Server) ServerName() matrix.ServerName { return s.config.ServerName }

// Stop stops the server in order, as SIGTERM would.
func (s *Server) Stop() {
	s.t.Helper()
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	select {
	case err := <-s.stopped:
		if err != nil {
			s.t.Errorf("the server ended with: %v", err)
		}
	case <-time.After(stopTime):
		s.lost.Store(true)
		s.t.Errorf("the server did not stop within %s", stopTime)
	}
}

// Restart stops the server and starts it again, at the same address, on the same database.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.client.CloseIdleConnections()
	s.start()
}

// Nobody is somebody without an account.
func (s *Server) Nobody() *User { return &User{t: s.t, server: s, rooms: map[string]*room{}} }

// User registers an account and logs it in.
func (s *Server) User(name string) *User {
	s.t.Helper()
	s.users++
	u := s.Nobody()
	u.Name = name
	u.Password = fmt.Sprintf("correct horse %d %s", s.users, name)
	u.logsInBy(u.Does("POST", "/register", map[string]any{
		"username": name, "password": u.Password, "auth": map[string]any{"type": "m.login.dummy"},
	}))
	return u
}

// strictLog fails the test upon an error in the server's log.
type strictLog struct {
	slog.Handler
	t    testing.TB
	lost *atomic.Bool
}

func (l *strictLog) Handle(ctx context.Context, r slog.Record) error {
	if l.lost.Load() {
		return nil
	}
	if r.Level >= slog.LevelError {
		l.t.Errorf("the server logged an error: %s", recordText(r))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs keeps the strictness.
func (l *strictLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &strictLog{Handler: l.Handler.WithAttrs(attrs), t: l.t, lost: l.lost}
}

// WithGroup keeps the strictness.
func (l *strictLog) WithGroup(name string) slog.Handler {
	return &strictLog{Handler: l.Handler.WithGroup(name), t: l.t, lost: l.lost}
}

func recordText(r slog.Record) string {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	return b.String()
}
