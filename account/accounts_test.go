package account_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

const (
	alice    matrix.UserID = "@alice:example.org"
	password string        = "correct horse"
)

// fixture are accounts whose Run the test starts and stops.
type fixture struct {
	*account.Accounts
	db    *store.DB
	clock atomic.Int64
}

func newFixture(t *testing.T, dsn string) *fixture {
	t.Helper()
	f := &fixture{}
	b := bus.NewLocal()
	f.db = testkit.Open(t, store.Options{DSN: dsn, Bus: b})
	f.clock.Store(1_700_000_000_000)
	f.Accounts = account.New(account.Options{
		DB: f.db, Bus: b, Server: "example.org", Now: func() time.Time { return time.UnixMilli(f.clock.Load()) },
		Passwords: config.Passwords{Argon2Memory: 8, Argon2Passes: 1},
	})
	return f
}

// together runs fn n times at once, and counts how often it succeeded.
func together(n int, fn func(i int) error) (succeeded int, failures []error) {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			succeeded++
		} else {
			failures = append(failures, err)
		}
	}
	return succeeded, failures
}

func code(err error) matrix.Code {
	var e *matrix.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestOneNameForOneUser(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		f := newFixture(t, dsn)
		n, failures := together(12, func(int) error {
			return f.CreateUser(t.Context(), account.NewUser{ID: alice, Password: password})
		})
		if n != 1 {
			t.Errorf("%d users have the same name", n)
		}
		for _, err := range failures {
			if code(err) != matrix.CodeUserInUse {
				t.Error(err)
			}
		}
	})
}

func TestARegistrationTokenIsNotOverdrawn(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		f := newFixture(t, dsn)
		if _, err := f.CreateRegistrationToken(t.Context(), "three", 3, time.Time{}); err != nil {
			t.Fatal(err)
		}
		n, failures := together(10, func(i int) error {
			id := matrix.UserID(fmt.Sprintf("@u%d:example.org", i))
			return f.CreateUser(t.Context(), account.NewUser{ID: id, Password: password, Token: "three"})
		})
		if n != 3 {
			t.Errorf("%d users by a token for three: %v", n, failures)
		}
		users, err := f.ListUsers(t.Context(), "", 100)
		if err != nil || len(users) != 3 {
			t.Errorf("%d users, %v", len(users), err)
		}
		if rest, err := f.ListUsers(t.Context(), users[0].ID, 1); err != nil || len(rest) != 1 || rest[0].ID != users[1].ID {
			t.Errorf("the second page is %+v, %v", rest, err)
		}
	})
}

func TestChangesAtOnceAreAllKept(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		f := newFixture(t, dsn)
		if err := f.CreateUser(t.Context(), account.NewUser{ID: alice}); err != nil {
			t.Fatal(err)
		}
		const room = "!room:example.org"
		n, failures := together(20, func(i int) error {
			err := f.SetTag(t.Context(), alice, room, fmt.Sprintf("u.%d", i), []byte(`{}`))
			return errors.Join(err, f.SetProfileField(t.Context(), alice, fmt.Sprintf("x.f%d", i), []byte(`1`)))
		})
		if n != 20 {
			t.Fatal(failures)
		}
		tags, err := f.Tags(t.Context(), alice, room)
		if err != nil || len(tags) != 20 {
			t.Errorf("%d tags of 20, %v", len(tags), err)
		}
		if fields, err := f.Fields(t.Context(), alice); err != nil || len(fields) != 20 {
			t.Errorf("%d fields of 20, %v", len(fields), err)
		}
	})
}

// Clients with several processes may refresh at once: one of the answers wins, and the session lives.
func TestRefreshesAtOnce(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		f := newFixture(t, dsn)
		first, err := f.Register(t.Context(), account.NewUser{ID: alice}, &account.NewDevice{Refresh: true})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var sessions []*account.Session
		if n, failures := together(4, func(int) error {
			s, err := f.Refresh(t.Context(), first.RefreshToken)
			mu.Lock()
			defer mu.Unlock()
			sessions = append(sessions, s)
			return err
		}); n != 4 {
			t.Fatal(failures)
		}
		r := httptest.NewRequest("GET", "/", nil)
		n, _ := together(4, func(i int) error {
			_, err := f.Authenticate(t.Context(), sessions[i].AccessToken, r)
			return err
		})
		if n != 1 {
			t.Errorf("%d of the pairs are in use", n)
		}
		if _, err := f.Refresh(t.Context(), first.RefreshToken); code(err) != matrix.CodeUnknownToken {
			t.Errorf("the old refresh token: %v", err)
		}
	})
}

func TestLastSeenIsWrittenNowAndThen(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		f := newFixture(t, dsn)
		s, err := f.Register(t.Context(), account.NewUser{ID: alice}, &account.NewDevice{ID: "PHONE"})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "192.0.2.7:4711"
		r.Header.Set("User-Agent", "Pigeon/1.0")
		// use asks once, and lets the accounts write what they have to before they stop.
		use := func() account.Device {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- f.Run(ctx) }()
			if _, err := f.Authenticate(t.Context(), s.AccessToken, r); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			d, found, err := f.Device(t.Context(), alice, "PHONE")
			if err != nil || !found {
				t.Fatal(found, err)
			}
			return d
		}
		first := use()
		if first.LastSeen != f.clock.Load() || first.LastIP != "192.0.2.7" || first.Agent != "Pigeon/1.0" {
			t.Errorf("seen: %+v", first)
		}
		f.clock.Add(60_000)
		if d := use(); d.LastSeen != first.LastSeen {
			t.Errorf("written again after a minute: %+v", d)
		}
		f.clock.Add(240_000)
		if d := use(); d.LastSeen != f.clock.Load() {
			t.Errorf("not written after five minutes: %+v", d)
		}
	})
}

func TestPasswordsMoveToTheirNewCost(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		f := newFixture(t, dsn)
		if err := f.CreateUser(t.Context(), account.NewUser{ID: alice, Password: password}); err != nil {
			t.Fatal(err)
		}
		dearer := account.New(account.Options{DB: f.db, Server: "example.org",
			Passwords: config.Passwords{Hash: "bcrypt", BcryptCost: 4}})
		for range 2 {
			if _, err := dearer.Login(t.Context(), "alice", password, account.NewDevice{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := dearer.Login(t.Context(), "alice", "another", account.NewDevice{}); code(err) != matrix.CodeForbidden {
			t.Errorf("a wrong password: %v", err)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	db := testkit.DB(b, testkit.SQLite(b))
	a := account.New(account.Options{DB: db, Server: "example.org"})
	s, err := a.Register(b.Context(), account.NewUser{ID: alice}, &account.NewDevice{})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), s.AccessToken, r); err != nil {
			b.Fatal(err)
		}
	}
}
