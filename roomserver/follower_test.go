package roomserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"astrocyte/bus"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

// notebook is a table in which followers of a test write what they took.
type notebook struct {
	t  *testing.T
	db *store.DB
}

func newNotebook(t *testing.T, db *store.DB) notebook {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`CREATE TABLE notebook (event_nid {INT8} NOT NULL, pos {INT8} NOT NULL)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return notebook{t, db}
}

func (n notebook) write(events []roomserver.Passed) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		for _, e := range events {
			if _, err := tx.Exec(`INSERT INTO notebook (event_nid, pos) VALUES ($1, $2)`, e.NID, e.Pos); err != nil {
				return err
			}
		}
		return nil
	}
}

// is wants every event of the stream in the notebook, once.
func (n notebook) is(r *roomserver.Rooms, follower string) {
	n.t.Helper()
	if err := r.Reached(n.t.Context(), follower, time.Minute); err != nil {
		n.t.Fatal(err)
	}
	list := func(query string) (all []int64) {
		err := n.db.View(n.t.Context(), func(tx *store.Tx) (err error) {
			all, err = store.Select(tx, func(r store.Row) (nid int64, err error) { return nid, r.Scan(&nid) }, query)
			return err
		})
		if err != nil {
			n.t.Fatal(err)
		}
		return all
	}
	want, got := list(`SELECT event_nid FROM timeline ORDER BY pos`), list(`SELECT event_nid FROM notebook ORDER BY pos`)
	if len(want) == 0 || !slices.Equal(got, want) {
		n.t.Errorf("the follower took %v of %v", got, want)
	}
}

// follow runs a follower until the test or the returned function ends it.
func follow(t *testing.T, r *roomserver.Rooms, b bus.Bus, f roomserver.Follower) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Follow(ctx, b, f) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestFollowerTakesEachEventOnce(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		wakes := bus.NewLocal()
		db := testkit.Open(t, store.Options{DSN: dsn, Bus: wakes})
		r := open(t, db)
		room := create(t, r, roomserver.Creation{})
		book := newNotebook(t, db)
		f := roomserver.Follower{Name: "test", Batch: 3, Take: func(_ context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
			return book.write(events), nil
		}}
		stop := follow(t, r, wakes, f)
		for i := range 20 {
			if _, err := r.Send(t.Context(), message(room, "@alice:example.org", "", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		book.is(r, "test")
		stop()
		if _, err := r.Send(t.Context(), message(room, "@alice:example.org", "", "while nobody follows")); err != nil {
			t.Fatal(err)
		}
		follow(t, r, wakes, f)
		book.is(r, "test")
	})
}

// TestFollowerDiesBeforeItsCursorMoves has the work done, but not committed: it comes again, and what is
// written with the cursor is written once.
func TestFollowerDiesBeforeItsCursorMoves(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		wakes := bus.NewLocal()
		db := testkit.Open(t, store.Options{DSN: dsn, Bus: wakes})
		r := open(t, db)
		create(t, r, roomserver.Creation{})
		book := newNotebook(t, db)
		var first [][]roomserver.Passed
		died := make(chan struct{})
		follow(t, r, wakes, roomserver.Follower{Name: "test", Node: "dies", Batch: 3, Take: func(_ context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
			if first = append(first, events); len(first) == 1 {
				return book.write(events), nil
			}
			return func(tx *store.Tx) error {
				if err := book.write(events)(tx); err != nil {
					return err
				}
				select {
				case <-died:
				default:
					close(died)
				}
				return errors.New("the node dies here")
			}, nil
		}})
		<-died
		// Another node cannot take over while the lease is held, and goes on where it was committed.
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE leases SET expires = 0`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var second [][]roomserver.Passed
		follow(t, r, wakes, roomserver.Follower{Name: "test", Node: "lives", Batch: 3, Take: func(_ context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
			second = append(second, events)
			return book.write(events), nil
		}})
		book.is(r, "test")
		if len(first) < 2 || len(second) == 0 || !slices.Equal(second[0], first[1]) {
			t.Errorf("the second node began with %v, the first one took %v", second, first)
		}
	})
}

// TestFollowersOfTwoNodes has two nodes follow while the one that does the work changes.
func TestFollowersOfTwoNodes(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		wakes := bus.NewLocal()
		db := testkit.Open(t, store.Options{DSN: dsn, Bus: wakes})
		nodes := []*roomserver.Rooms{open(t, db), nil}
		if nodes[1] = nodes[0]; db.Engine() == "postgres" {
			nodes[1] = open(t, testkit.DB(t, dsn))
		}
		room := create(t, nodes[0], roomserver.Creation{})
		book := newNotebook(t, db)
		begin := func(i int) func() {
			return follow(t, nodes[i], wakes, roomserver.Follower{
				Name: "test", Node: fmt.Sprint(i), Batch: 2,
				Take: func(_ context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
					return book.write(events), nil
				},
			})
		}
		stops := []func(){begin(0), begin(1)}
		for i := range 30 {
			if _, err := nodes[i%2].Send(t.Context(), message(room, "@alice:example.org", "", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			if i%10 == 9 {
				stops[i/10%2]()
				stops[i/10%2] = begin(i / 10 % 2)
			}
		}
		book.is(nodes[0], "test")
	})
}

func TestFollowerFromNow(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		wakes := bus.NewLocal()
		r := open(t, testkit.Open(t, store.Options{DSN: dsn, Bus: wakes}))
		room := create(t, r, roomserver.Creation{})
		took := make(chan roomserver.Passed, 100)
		follow(t, r, wakes, roomserver.Follower{Name: "test", FromNow: true, Take: func(_ context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
			for _, e := range events {
				took <- e
			}
			return nil, nil
		}})
		for range 2 { // the first one may come before the follower has begun
			if _, err := r.Send(t.Context(), message(room, "@alice:example.org", "", "news")); err != nil {
				t.Fatal(err)
			}
			if err := r.Reached(t.Context(), "test", time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		got := <-took
		if got.Seq < 6 { // a public room begins with five events
			t.Errorf("the follower began with %+v", got)
		}
	})
}
