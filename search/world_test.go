package search

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const (
	server = "example.org"
	alice  = matrix.UserID("@alice:example.org")
	bob    = matrix.UserID("@bob:example.org")
)

// world is a room server and the search over a real database.
type world struct {
	*Search
	t        testing.TB
	db       *store.DB
	bus      bus.Bus
	rooms    *roomserver.Rooms
	accounts *account.Accounts
}

func newWorld(t testing.TB, dsn string, all bool) *world {
	t.Helper()
	w := restingWorld(t, dsn, all)
	w.runs(w.rooms.Run)
	w.runs(w.Search.Run)
	return w
}

// restingWorld is one in which nothing runs yet.
func restingWorld(t testing.TB, dsn string, all bool) *world {
	t.Helper()
	w := &world{t: t, bus: bus.NewLocal()}
	w.db = testkit.Open(t, store.Options{DSN: dsn, Bus: w.bus})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	w.rooms = roomserver.New(roomserver.Options{
		DB: w.db, Server: server, KeyID: "ed25519:1", Key: key, Memory: 64 << 20, Now: time.Now, Log: log,
	})
	w.accounts = account.New(account.Options{DB: w.db, Bus: w.bus, Server: server, Passwords: config.Default().Passwords})
	w.Search = New(Options{DB: w.db, Bus: w.bus, Rooms: w.rooms, Accounts: w.accounts, AllUsers: all, Log: log})
	w.accounts.Use(func(h *account.Hooks) {
		h.Registered = append(h.Registered, w.Search.Registered)
		h.ProfileChanged = w.Search.ProfileChanged
		h.Deactivated = append(h.Deactivated, w.Search.Deactivated)
	})
	return w
}

func (w *world) runs(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() { stop(); done.Wait() })
}

func (w *world) creates(user matrix.UserID, preset roomserver.Preset) matrix.RoomID {
	w.t.Helper()
	id, err := w.rooms.Create(w.t.Context(), roomserver.Creation{Creator: user, Version: "12", Preset: preset})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) sends(user matrix.UserID, room matrix.RoomID, tp string, content any) matrix.EventID {
	w.t.Helper()
	raw, err := json.Marshal(content)
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.rooms.Send(w.t.Context(), roomserver.Draft{Room: room, Sender: user, Type: tp, Content: raw})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) says(user matrix.UserID, room matrix.RoomID, text string) matrix.EventID {
	w.t.Helper()
	return w.sends(user, room, "m.room.message", map[string]string{"msgtype": "m.text", "body": text})
}

func (w *world) redacts(user matrix.UserID, room matrix.RoomID, event matrix.EventID) {
	w.t.Helper()
	_, err := w.rooms.Send(w.t.Context(), roomserver.Draft{Room: room, Sender: user, Type: "m.room.redaction", Content: []byte(`{"redacts":"` + string(event) + `"}`), Redacts: event})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) finds(q Query) *Result {
	w.t.Helper()
	if q.Viewer.User == "" {
		q.Viewer.User = alice
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	r, err := w.Find(w.t.Context(), q)
	if err != nil {
		w.t.Fatalf("search for %q: %v", q.Text, err)
	}
	return r
}

// ids are the events of a result.
func ids(r *Result) (all []matrix.EventID) {
	for _, h := range r.Hits {
		all = append(all, h.Event.ID())
	}
	return all
}

// view reads.
func (w *world) view(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.db.View(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}
