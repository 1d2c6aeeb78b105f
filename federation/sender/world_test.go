package sender_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/bus"
	"astrocyte/egress"
	"astrocyte/federation/peer"
	"astrocyte/federation/sender"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const alice = matrix.UserID("@alice:example.org")

// remote is another server, as far as transactions go: it speaks the protocol over TLS and keeps what it takes.
type remote struct {
	t    *testing.T
	http *httptest.Server
	name matrix.ServerName
	bob  matrix.UserID

	mu           sync.Mutex
	answers      []func(t arrived) (status int, body string) // for the next transactions; then it takes them
	arrived      []arrived
	greeted      int // transactions without anything in them: they are answered, and not among the others
	atOnce, most int // transactions that it had at the same time
	news         chan struct{}
}

// arrived is a transaction that came.
type arrived struct {
	ID     string
	Origin matrix.ServerName
	Status int
	PDUs   []json.RawMessage `json:"pdus"`
	EDUs   []struct {
		Type    string          `json:"edu_type"`
		Content json.RawMessage `json:"content"`
	} `json:"edus"`
}

// newRemotes makes servers whose certificates a pool trusts.
func newRemotes(t *testing.T, n int) ([]*remote, *x509.CertPool) {
	t.Helper()
	pool := x509.NewCertPool()
	remotes := make([]*remote, n)
	for i := range remotes {
		r := &remote{t: t, news: make(chan struct{}, 10_000)}
		r.http = httptest.NewTLSServer(http.HandlerFunc(r.serve))
		t.Cleanup(r.http.Close)
		pool.AddCert(r.http.Certificate())
		r.name = matrix.ServerName(strings.TrimPrefix(r.http.URL, "https://"))
		r.bob = matrix.UserID("@bob:" + string(r.name))
		remotes[i] = r
	}
	return remotes, pool
}

func (r *remote) serve(w http.ResponseWriter, req *http.Request) {
	id, is := strings.CutPrefix(req.URL.Path, "/_matrix/federation/v1/send/")
	if !is || req.Method != http.MethodPut {
		http.NotFound(w, req)
		return
	}
	body, err := io.ReadAll(req.Body)
	a := arrived{ID: id, Status: http.StatusOK}
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil || len(a.PDUs) > 50 || len(a.EDUs) > 100 || !strings.HasPrefix(req.Header.Get("Authorization"), "X-Matrix ") {
		r.t.Errorf("a transaction that is none: %v, %.200s", err, body)
	}
	greeting := len(a.PDUs)+len(a.EDUs) == 0
	r.mu.Lock()
	r.atOnce++
	r.most = max(r.most, r.atOnce)
	answer := func(arrived) (int, string) { return http.StatusOK, `{"pdus":{}}` }
	if len(r.answers) > 0 && !greeting {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	r.mu.Unlock()
	var text string
	a.Status, text = answer(a)
	r.mu.Lock()
	r.atOnce--
	if greeting {
		r.greeted++
	} else {
		r.arrived = append(r.arrived, a)
	}
	r.mu.Unlock()
	r.news <- struct{}{}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, text)
}

// answer has the next transactions answered by functions.
func (r *remote) answer(fns ...func(a arrived) (int, string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = append(r.answers, fns...)
}

func fails(arrived) (int, string) {
	return http.StatusInternalServerError, `{"errcode":"M_UNKNOWN","error":"not today"}`
}

// taken is what the server has taken so far, and how often: events by their body or type.
func (r *remote) taken() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]int)
	for _, a := range r.arrived {
		if a.Status == http.StatusOK {
			for _, p := range a.PDUs {
				out[labelOf(p)]++
			}
		}
	}
	return out
}

func (r *remote) all() []arrived {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrived(nil), r.arrived...)
}

// greetings is how often the server was greeted.
func (r *remote) greetings() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.greeted
}

func labelOf(pdu json.RawMessage) string {
	var e struct {
		Type    string
		Content struct{ Body, Membership string }
	}
	if err := json.Unmarshal(pdu, &e); err != nil {
		return err.Error()
	}
	switch {
	case e.Content.Body != "":
		return e.Content.Body
	case e.Content.Membership != "":
		return e.Content.Membership
	}
	return e.Type
}

// waits until a condition holds, which is looked at when something arrives.
func (r *remote) waits(what string, holds func() bool) {
	r.t.Helper()
	end := time.After(time.Minute)
	for !holds() {
		select {
		case <-r.news:
		case <-end:
			r.t.Fatalf("%s: never; taken are %v", what, r.taken())
		}
	}
}

// gets waits until the server has taken events.
func (r *remote) gets(labels ...string) {
	r.t.Helper()
	for _, label := range labels {
		r.waits("to get "+label, func() bool { return r.taken()[label] > 0 })
	}
}

// world is a server with rooms that sends to others.
type world struct {
	t       *testing.T
	dsn     string
	db      *store.DB
	bus     bus.Bus
	rooms   *roomserver.Rooms
	client  *peer.Client
	sender  *sender.Sender
	stop    func()
	remotes []*remote
}

// start makes a world whose sender does not run yet.
func start(t *testing.T, dsn string, remotes int) *world {
	t.Helper()
	w := &world{t: t, dsn: dsn, bus: bus.NewLocal()}
	w.db = testkit.Open(t, store.Options{DSN: dsn, Bus: w.bus})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.rooms = roomserver.New(roomserver.Options{
		DB: w.db, Server: "example.org", KeyID: "ed25519:1", Key: key, Memory: 8 << 20, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	w.runs(w.rooms.Run)
	var pool *x509.CertPool
	w.remotes, pool = newRemotes(t, remotes)
	w.client = peer.New(peer.Options{
		Server: "example.org", KeyID: "ed25519:1", Key: key, Egress: egress.New(egress.Options{AllowPrivate: true}), CAs: pool,
	})
	t.Cleanup(w.client.Close)
	w.sender = w.newSender()
	return w
}

func (w *world) newSender() *sender.Sender {
	return sender.New(sender.Options{DB: w.db, Bus: w.bus, Rooms: w.rooms, Client: w.client, Pause: 30 * time.Second})
}

// runs runs a part until the test, or the returned function, ends it.
func (w *world) runs(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// follows lets the sender run and waits until it has marked what there is.
func (w *world) follows() {
	w.t.Helper()
	w.stop = w.runs(w.sender.Run)
	w.reached()
}

func (w *world) reached() {
	w.t.Helper()
	if err := w.rooms.Reached(w.t.Context(), "federation", time.Minute); err != nil {
		w.t.Fatal(err)
	}
}

// room makes a room in which users of other servers are.
func (w *world) room(members ...matrix.UserID) matrix.RoomID {
	w.t.Helper()
	room, err := w.rooms.Create(w.t.Context(), roomserver.Creation{Creator: alice, Version: "12", Preset: roomserver.PublicChat})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, u := range members {
		w.becomes(room, u, u, matrix.Join)
	}
	return room
}

func (w *world) becomes(room matrix.RoomID, by, who matrix.UserID, m matrix.Membership) {
	w.t.Helper()
	if _, err := w.rooms.SetMembership(w.t.Context(), roomserver.Change{Room: room, Sender: by, Target: who, Membership: m}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) says(room matrix.RoomID, by matrix.UserID, body string) matrix.EventID {
	w.t.Helper()
	id, err := w.rooms.Send(w.t.Context(), roomserver.Draft{
		Room: room, Sender: by, Type: "m.room.message", Content: json.RawMessage(`{"msgtype":"m.text","body":` + strconv.Quote(body) + `}`),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) destination(server matrix.ServerName) sender.Destination {
	w.t.Helper()
	d, err := w.sender.Destination(w.t.Context(), server)
	var fault *matrix.Error
	if err != nil && !errors.As(err, &fault) {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) retry(server matrix.ServerName) {
	w.t.Helper()
	if left, err := w.sender.Retry(w.t.Context(), server); err != nil || !left {
		w.t.Fatalf("try again: was left alone %v, %v", left, err)
	}
}

// eventually waits for what the sender writes after an answer has arrived.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: never", what)
		}
	}
}

// otherNode is another node of the same server.
func (w *world) otherNode() *world {
	w.t.Helper()
	other := *w
	other.bus = bus.NewLocal()
	other.db = testkit.Open(w.t, store.Options{DSN: w.dsn, Bus: other.bus})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	other.rooms = roomserver.New(roomserver.Options{
		DB: other.db, Server: "example.org", KeyID: "ed25519:1", Key: key, Memory: 8 << 20, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	other.runs(other.rooms.Run)
	other.sender = other.newSender()
	other.stop = other.runs(other.sender.Run)
	return &other
}

// leavesAlone has a server not take the next event of a room, so that it is left alone from then on.
func (w *world) leavesAlone(r *remote, room matrix.RoomID) {
	w.t.Helper()
	r.answer(fails)
	w.says(room, alice, "not taken")
	w.eventually("to be left alone", func() bool { return w.destination(r.name).Failing != 0 })
}
