package clientapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/clientapi"
	"astrocyte/config"
	"astrocyte/delayed"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/push"
	"astrocyte/store"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// world is the client API over a real database, with a clock that tests move.
type world struct {
	t        *testing.T
	db       *store.DB
	bus      bus.Bus
	accounts *account.Accounts
	router   http.Handler
	clock    *atomic.Int64 // milliseconds
}

func newWorld(t *testing.T, dsn string, change ...func(*account.Options)) *world {
	t.Helper()
	w := &world{t: t, bus: bus.NewLocal(), clock: new(atomic.Int64)}
	w.clock.Store(1_700_000_000_000)
	w.db = testkit.Open(t, store.Options{DSN: dsn, Bus: w.bus})
	w.accounts, w.router = w.node(change...)
	return w
}

// node makes another node over the database of the world. It runs until the test ends.
func (w *world) node(change ...func(*account.Options)) (*account.Accounts, http.Handler) {
	o := account.Options{
		DB: w.db, Bus: w.bus, Server: "example.org",
		Now:          func() time.Time { return time.UnixMilli(w.clock.Load()) },
		Registration: config.Registration{Enabled: true, SharedSecret: "open sesame"},
		Passwords:    config.Passwords{Argon2Memory: 64, Argon2Passes: 1},
		Sessions:     config.Sessions{AccessTokenLifetime: config.Duration(time.Hour)},
		FailedLogins: httpapi.Rate{PerSecond: 0.1, Burst: 3},
	}
	for _, c := range change {
		c(&o)
	}
	accounts := account.New(o)
	router := httpapi.New(httpapi.Options{Authenticate: accounts.Authenticate})
	files, err := media.New(media.Options{DB: w.db, Server: "example.org", Config: config.Default().Media, Folder: w.t.TempDir()})
	if err != nil {
		w.t.Fatal(err)
	}
	clientapi.New(clientapi.Parts{Media: files, Push: new(push.Push), Delayed: new(delayed.Delayed), Server: "example.org", PublicURL: "https://matrix.example.org", Accounts: accounts, DefaultVersion: "12", Now: time.Now, Calls: config.Calls{
		TURN:    config.TURN{URIs: []string{"turn:turn.example.org"}, SharedSecret: "s", Lifetime: config.Duration(time.Hour)},
		LiveKit: []string{"https://rtc.example.org"},
	}}).Routes(router)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = accounts.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	return accounts, router
}

func (w *world) pass(d time.Duration) { w.clock.Add(d.Milliseconds()) }

// answer is a status and a JSON object.
type answer struct {
	status int
	story.JSON
}

func (w *world) do(token, method, path string, body any) answer {
	w.t.Helper()
	return doOn(w.t, w.router, token, method, path, body)
}

func doOn(t *testing.T, h http.Handler, token, method, path string, body any) answer {
	t.Helper()
	var in io.Reader = http.NoBody
	switch body := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(body)
	default:
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	if !strings.HasPrefix(path, "/_") && !strings.HasPrefix(path, "/.") {
		path = "/_matrix/client/v3" + path
	}
	r := httptest.NewRequest(method, path, in)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	j, err := story.ParseJSON(rec.Body.Bytes())
	if err != nil {
		t.Fatalf("%s %s: status %d and an answer that is not JSON: %q", method, path, rec.Code, rec.Body)
	}
	return answer{rec.Code, j}
}

// ok does a request that must succeed.
func (w *world) ok(token, method, path string, body any) answer {
	w.t.Helper()
	a := w.do(token, method, path, body)
	if a.status != http.StatusOK {
		w.t.Fatalf("%s %s: status %d, %s", method, path, a.status, a.JSON)
	}
	return a
}

// refused does a request that must fail in one way.
func (w *world) refused(status int, code matrix.Code, token, method, path string, body any) answer {
	w.t.Helper()
	a := w.do(token, method, path, body)
	if a.status != status || a.At("errcode").Text() != string(code) {
		w.t.Fatalf("%s %s: status %d, %s; want %d %s", method, path, a.status, a.JSON, status, code)
	}
	return a
}

const password = "correct horse"

type object map[string]any

// user registers somebody, and gives their access token.
func (w *world) user(name string, more ...object) answer {
	w.t.Helper()
	body := object{"username": name, "password": password, "auth": object{"type": "m.login.dummy"}}
	for _, m := range more {
		for k, v := range m {
			body[k] = v
		}
	}
	return w.ok("", "POST", "/register", body)
}

func (w *world) login(name string, more ...object) answer {
	w.t.Helper()
	body := object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": name}, "password": password}
	for _, m := range more {
		for k, v := range m {
			body[k] = v
		}
	}
	return w.ok("", "POST", "/login", body)
}

func token(a answer) string { return a.At("access_token").Text() }
