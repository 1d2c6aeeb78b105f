package e2ee_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const (
	alice = matrix.UserID("@alice:example.org")
	bob   = matrix.UserID("@bob:example.org")
	eve   = matrix.UserID("@eve:example.org")
)

// world is one node.
type world struct {
	*e2ee.Encryption
	t        testing.TB
	db       *store.DB
	accounts *account.Accounts
	rooms    *roomserver.Rooms
	wakes    bus.Bus
}

// start makes a node over a database. Two nodes may be over one PostgreSQL.
func start(t testing.TB, dsn, folder string) *world {
	t.Helper()
	return startServer(t, dsn, folder, "example.org")
}

func startServer(t testing.TB, dsn, folder string, server matrix.ServerName) *world {
	t.Helper()
	b := bus.NewLocal()
	w := &world{t: t, wakes: b, db: testkit.Open(t, store.Options{DSN: dsn, Bus: b})}
	w.accounts = account.New(account.Options{DB: w.db, Bus: b, Server: server})
	w.rooms = roomserver.New(roomserver.Options{
		DB: w.db, Server: server, KeyID: "ed25519:1", Key: newKey(t).private, Memory: 8 << 20, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	w.Encryption = e2ee.New(e2ee.Options{
		DB: w.db, Server: server, Accounts: w.accounts, Rooms: w.rooms, Bus: b, Folder: folder,
	})
	w.accounts.Use(func(h *account.Hooks) { h.DevicesGone = append(h.DevicesGone, w.DevicesGone) })
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) device(user matrix.UserID, ids ...matrix.DeviceID) {
	w.t.Helper()
	for _, id := range ids {
		if _, err := w.accounts.CreateDevice(w.t.Context(), user, account.NewDevice{ID: id}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// key is a signing key.
type key struct {
	private ed25519.PrivateKey
	public  string
}

func newKey(t testing.TB) key {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{private, canonicaljson.Base64(public)}
}

// keyOf is the key of a seed.
func keyOf(t testing.TB, seed []byte) key {
	t.Helper()
	private := ed25519.NewKeyFromSeed(seed)
	return key{private, canonicaljson.Base64(private.Public().(ed25519.PublicKey))}
}

func (k key) sign(t testing.TB, user matrix.UserID, id string, object any) json.RawMessage {
	t.Helper()
	raw, err := canonicaljson.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := canonicaljson.Sign(raw, string(user), "ed25519:"+id, k.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// identity makes the keys of a device, signed by it.
func (k key) identity(t testing.TB, user matrix.UserID, device matrix.DeviceID) json.RawMessage {
	t.Helper()
	return k.sign(t, user, string(device), map[string]any{
		"user_id": user, "device_id": device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
		"keys": map[string]string{"ed25519:" + string(device): k.public, "curve25519:" + string(device): newKey(t).public},
	})
}

// oneTime makes n one-time keys of a device, named from the number first on.
func (k key) oneTime(t testing.TB, user matrix.UserID, device matrix.DeviceID, first, n int) map[string]json.RawMessage {
	t.Helper()
	keys := make(map[string]json.RawMessage, n)
	for i := range n {
		keys[fmt.Sprintf("signed_curve25519:K%05d", first+i)] = k.sign(t, user, string(device), map[string]any{"key": newKey(t).public})
	}
	return keys
}

// oneTimeOf is oneTime with keys that are the same each time.
func (k key) oneTimeOf(t testing.TB, user matrix.UserID, device matrix.DeviceID, first, n int) map[string]json.RawMessage {
	t.Helper()
	keys := make(map[string]json.RawMessage, n)
	for i := first; i < first+n; i++ {
		public := canonicaljson.Base64(binary.BigEndian.AppendUint64(make([]byte, 24), uint64(i)))
		keys[fmt.Sprintf("signed_curve25519:K%05d", i)] = k.sign(t, user, string(device), map[string]any{"key": public})
	}
	return keys
}

func (w *world) upload(user matrix.UserID, device matrix.DeviceID, u e2ee.Upload) map[string]int64 {
	w.t.Helper()
	counts, err := w.Upload(w.t.Context(), user, device, u)
	if err != nil {
		w.t.Fatal(err)
	}
	return counts
}

// claim claims a key and gives its name, or nothing.
func (w *world) claim(user matrix.UserID, device matrix.DeviceID) (string, error) {
	got, _, err := w.Claim(w.t.Context(), e2ee.Claims{user: {device: "signed_curve25519"}}, 0)
	for name := range got[user][device] {
		return name, err
	}
	return "", err
}

func (w *world) mustClaim(user matrix.UserID, device matrix.DeviceID) string {
	w.t.Helper()
	name, err := w.claim(user, device)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimPrefix(name, "signed_curve25519:")
}

// refused says that an error is the caller's fault, of a code.
func refused(t testing.TB, err error, code matrix.Code) {
	t.Helper()
	var e *matrix.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// news reads what is new for a device after a position, of whose messages it has those up to had.
func (w *world) news(user matrix.UserID, device matrix.DeviceID, had, after int64) (n e2ee.DeviceNews) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(tx *store.Tx) error {
		upto, err := tx.Pos()
		if err != nil {
			return err
		}
		n, err = w.News(tx, user, device, e2ee.Asked{Had: had, After: after, Upto: upto}, func(int64) bool { return true })
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}
