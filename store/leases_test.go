package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/store"
	"astrocyte/testkit"
)

// nodes gives the test two views of one database: two nodes on PostgreSQL, one twice on SQLite.
func nodes(t *testing.T, test func(t *testing.T, a, b *store.DB)) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		a := testkit.DB(t, dsn)
		if a.Engine() == "sqlite" {
			test(t, a, a)
			return
		}
		test(t, a, testkit.DB(t, dsn))
	})
}

func TestLeases(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		ctx := t.Context()
		must := func(ok bool, err error, want bool, what string) {
			t.Helper()
			if err != nil || ok != want {
				t.Fatalf("%s: %v, %v", what, ok, err)
			}
		}
		holds := func(db *store.DB, l store.Lease) (held bool, err error) {
			err = db.Update(ctx, func(tx *store.Tx) error {
				held, err = tx.Holds(l)
				return err
			})
			return held, err
		}
		first, ok, err := a.Acquire(ctx, "sender", "a", time.Hour)
		must(ok, err, true, "a acquires")
		_, ok, err = b.Acquire(ctx, "sender", "b", time.Hour)
		must(ok, err, false, "b acquires what a holds")
		_, ok, err = b.Acquire(ctx, "other", "b", time.Hour)
		must(ok, err, true, "b acquires another")
		again, ok, err := a.Acquire(ctx, "sender", "a", time.Hour)
		must(ok, err, true, "a acquires again")
		if again != first {
			t.Errorf("again is %v, first was %v", again, first)
		}
		ok, err = holds(b, first)
		must(ok, err, true, "b sees that a holds it")
		ok, err = a.Renew(ctx, first, time.Millisecond)
		must(ok, err, true, "a renews for a moment")
		time.Sleep(5 * time.Millisecond)
		ok, err = holds(a, first)
		must(ok, err, false, "a holds what expired")
		ok, err = a.Renew(ctx, first, time.Hour)
		must(ok, err, false, "a renews what expired")
		second, ok, err := b.Acquire(ctx, "sender", "b", time.Hour)
		must(ok, err, true, "b acquires what expired")
		if second.Term <= first.Term {
			t.Errorf("term %d came after %d", second.Term, first.Term)
		}
		if err := a.Release(ctx, first); err != nil {
			t.Fatal(err)
		}
		ok, err = holds(b, second)
		must(ok, err, true, "b holds it after a released its old one")
		if err := b.Release(ctx, second); err != nil {
			t.Fatal(err)
		}
		_, ok, err = a.Acquire(ctx, "sender", "a", time.Hour)
		must(ok, err, true, "a acquires what b released")
	})
}

// Many ask at once: one gets it.
func TestOneOfManyGetsTheLease(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		var got atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			db := []*store.DB{a, b}[i%2]
			wg.Go(func() {
				_, ok, err := db.Acquire(context.Background(), "one", string(rune('a'+i)), time.Hour)
				if err != nil {
					t.Error(err)
				}
				if ok {
					got.Add(1)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 {
			t.Errorf("%d got it", got.Load())
		}
	})
}

func TestAlone(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		var at, most, runs atomic.Int64
		work := func(ctx context.Context, _ store.Lease) error {
			most.Store(max(most.Load(), at.Add(1)))
			defer at.Add(-1)
			if runs.Add(1) >= 6 {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
			return errors.New("a failed run is tried again")
		}
		var wg sync.WaitGroup
		for i, db := range []*store.DB{a, b, a} {
			wg.Go(func() {
				if err := db.Alone(ctx, "work", string(rune('a'+i)), 3*time.Second, work); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 1 || runs.Load() < 6 {
			t.Errorf("%d at the same time, %d runs", most.Load(), runs.Load())
		}
	})
}

// The work under a lease ends when another took it, as after a long pause of the machine.
func TestAloneEndsWithTheLease(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		defer wg.Wait()
		ended := make(chan struct{})
		var once sync.Once
		wg.Go(func() {
			_ = a.Alone(ctx, "work", "a", 150*time.Millisecond, func(ctx context.Context, l store.Lease) error {
				// Somebody takes it away.
				if err := b.Release(ctx, l); err != nil {
					t.Error(err)
				}
				if _, ok, err := b.Acquire(ctx, "work", "b", time.Hour); !ok || err != nil {
					t.Error(ok, err)
				}
				<-ctx.Done()
				once.Do(func() { close(ended) })
				return nil
			})
		})
		<-ended
		cancel()
	})
}

func TestNodes(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		ctx := t.Context()
		if err := a.Join(ctx, store.Node{Name: "a", Address: "https://a.example", Version: "1"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Join(ctx, store.Node{Name: "b", Version: "2"}); err != nil {
			t.Fatal(err)
		}
		if known, err := b.Beat(ctx, "b"); !known || err != nil {
			t.Fatal(known, err)
		}
		if known, err := b.Beat(ctx, "c"); known || err != nil {
			t.Fatal(known, err)
		}
		names := func(within time.Duration) (names string) {
			view(t, a, func(tx *store.Tx) error {
				all, err := tx.Nodes(within)
				for _, n := range all {
					names += n.Name + " " + n.Address + " " + n.Version + ";"
					if n.Started == 0 || n.Seen < n.Started {
						t.Errorf("%+v", n)
					}
				}
				return err
			})
			return names
		}
		if got := names(time.Hour); got != "a https://a.example 1;b  2;" {
			t.Error(got)
		}
		time.Sleep(20 * time.Millisecond)
		if _, err := a.Beat(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if got := names(15 * time.Millisecond); got != "a https://a.example 1;" && got != "" {
			t.Error(got)
		}
		if err := a.Leave(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if got := names(time.Hour); got != "b  2;" {
			t.Error(got)
		}
	})
}
