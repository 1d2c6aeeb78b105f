package syncapi

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const server = "example.org"

// world is a room server and /sync over a real database.
type world struct {
	t        testing.TB
	db       *store.DB
	bus      bus.Bus
	rooms    *roomserver.Rooms
	accounts *account.Accounts
	key      ed25519.PrivateKey
	api      *API
	other    *API // of another node over the same database, which hears no hints
}

func newWorld(t testing.TB, dsn string) *world {
	t.Helper()
	w := &world{t: t, bus: bus.NewLocal()}
	w.db = testkit.Open(t, store.Options{DSN: dsn, Bus: w.bus})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.key = key
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	w.rooms = roomserver.New(roomserver.Options{
		DB: w.db, Server: server, KeyID: "ed25519:1", Key: key, Memory: 64 << 20, Now: time.Now, Log: log,
	})
	w.accounts = account.New(account.Options{DB: w.db, Bus: w.bus, Server: server})
	node := func(b bus.Bus) *API {
		passing := ephemeral.New(ephemeral.Options{DB: w.db, Bus: b, Rooms: w.rooms, Log: log})
		w.runs(passing.Run)
		pushing := push.New(push.Options{DB: w.db, Rooms: w.rooms, ReadUpTo: passing.ReadUpTo, Log: log})
		return New(Options{DB: w.db, Bus: b, Rooms: w.rooms, Accounts: w.accounts, Ephemeral: passing, Push: pushing, Log: log})
	}
	w.runs(w.rooms.Run)
	w.api, w.other = node(w.bus), node(bus.NewLocal())
	w.runs(w.api.Run)
	return w
}

// anew makes the API of a node that has just started, and remembers nothing. It hears no hints.
func (w *world) anew() *API {
	rooms := roomserver.New(roomserver.Options{
		DB: w.db, Server: server, KeyID: "ed25519:1", Key: w.key, Memory: 64 << 20, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	b := bus.NewLocal()
	passing := ephemeral.New(ephemeral.Options{DB: w.db, Bus: b, Rooms: rooms})
	return New(Options{DB: w.db, Bus: b, Rooms: rooms, Accounts: w.accounts, Ephemeral: passing,
		Push: push.New(push.Options{DB: w.db, Rooms: rooms, ReadUpTo: passing.ReadUpTo})})
}

// runs runs a part until the test ends.
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

func user(name string) matrix.UserID { return matrix.UserID("@" + name + ":" + server) }

func viewer(name string) roomserver.Viewer {
	return roomserver.Viewer{User: user(name), Device: "D"}
}

func (w *world) create(creator string) matrix.RoomID {
	w.t.Helper()
	id, err := w.rooms.Create(context.Background(), roomserver.Creation{Creator: user(creator), Version: "11", Preset: roomserver.PublicChat})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// does is true where it could be done, and false where the rules refused.
func (w *world) does(err error) bool {
	w.t.Helper()
	var refused *matrix.Error
	if err != nil && !errors.As(err, &refused) {
		w.t.Fatal(err)
	}
	return err == nil
}

func (w *world) membership(room matrix.RoomID, sender, target string, m matrix.Membership) bool {
	w.t.Helper()
	if m == matrix.Leave && sender != target {
		if w.does(w.rooms.Unban(context.Background(), roomserver.Change{Room: room, Sender: user(sender), Target: user(target)})) {
			return true
		}
	}
	_, err := w.rooms.SetMembership(context.Background(), roomserver.Change{Room: room, Sender: user(sender), Target: user(target), Membership: m})
	return w.does(err)
}

func (w *world) says(room matrix.RoomID, sender, body string) matrix.EventID {
	w.t.Helper()
	id, err := w.rooms.Send(context.Background(), w.draft(room, sender, body))
	w.does(err)
	return id
}

func (w *world) draft(room matrix.RoomID, sender, body string) roomserver.Draft {
	content, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	if err != nil {
		w.t.Fatal(err)
	}
	return roomserver.Draft{Room: room, Sender: user(sender), Type: "m.room.message", Content: content}
}

func (w *world) sets(room matrix.RoomID, sender, tp, key, content string) bool {
	w.t.Helper()
	_, err := w.rooms.Send(context.Background(), roomserver.Draft{
		Room: room, Sender: user(sender), Type: tp, StateKey: &key, Content: json.RawMessage(content),
	})
	return w.does(err)
}

func (w *world) marks(room matrix.RoomID, reader string, event matrix.EventID) error {
	return w.api.ephemeral.Mark(context.Background(), ephemeral.Reading{User: user(reader), Room: room, Type: ephemeral.Read, Event: event})
}

func (w *world) view(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.db.View(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func mustFilter(t testing.TB, raw string) *filter {
	t.Helper()
	f, err := newFilter(json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func limitFilter(limit int) string { return fmt.Sprintf(`{"room":{"timeline":{"limit":%d}}}`, limit) }
