package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/bus"
	"astrocyte/store"
	"astrocyte/testkit"
)

// things makes a table for tests.
func things(t testing.TB, db *store.DB) {
	t.Helper()
	strict := ""
	if db.Engine() == "sqlite" {
		strict = " STRICT" // as the migrations make tables
	}
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.Exec(`CREATE TABLE things (id {INT8} PRIMARY KEY, name {TEXT} NOT NULL, body {BYTES})` + strict)
		return err
	})
}

func add(tx *store.Tx, id int64) error {
	_, err := tx.Exec(`INSERT INTO things (id, name) VALUES ($1, $2)`, id, fmt.Sprint("thing ", id))
	return err
}

func update(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func scanInt(r store.Row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}

func scanText(r store.Row) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// ids gives the ids of all things.
func ids(t testing.TB, db *store.DB) (all []int64) {
	t.Helper()
	view(t, db, func(tx *store.Tx) (err error) {
		all, err = store.Select(tx, scanInt, `SELECT id FROM things ORDER BY id`)
		return err
	})
	return all
}

// both runs a test on both engines, with a database that has a table of things.
func both(t *testing.T, test func(t *testing.T, db *store.DB)) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		things(t, db)
		test(t, db)
	})
}

func TestFailingFunctionAloneFails(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		refused := errors.New("refused")
		var wg sync.WaitGroup
		for i := range int64(200) {
			wg.Go(func() {
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					if err := add(tx, i); err != nil {
						return err
					}
					if i%3 == 0 {
						return refused
					}
					return nil
				})
				if want := i%3 == 0; errors.Is(err, refused) != want || (err != nil) != want {
					t.Errorf("thing %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		var want []int64
		for i := range int64(200) {
			if i%3 != 0 {
				want = append(want, i)
			}
		}
		if got := ids(t, db); !slices.Equal(got, want) {
			t.Errorf("have %v", got)
		}
	})
}

// A function that panics or ends its goroutine does it on its caller's goroutine, undoes its own writes
// and nobody else's, and leaves the database usable.
func TestPanicAndExitAloneFail(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		var wg sync.WaitGroup
		for i := range int64(90) {
			wg.Go(func() {
				defer func() {
					if p := recover(); (p != nil) != (i%3 == 0) {
						t.Errorf("thing %d: recovered %v", i, p)
					}
				}()
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					if err := add(tx, i); err != nil {
						return err
					}
					switch i % 3 {
					case 0:
						panic("a mistake")
					case 1:
						runtime.Goexit()
					}
					return nil
				})
				if err != nil {
					t.Errorf("thing %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if got := ids(t, db); len(got) != 30 || slices.ContainsFunc(got, func(id int64) bool { return id%3 != 2 }) {
			t.Errorf("have %v", got)
		}
	})
}

func TestRollbackTakesEverythingBack(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		ran := false
		refused := errors.New("refused")
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.NextPos(3); err != nil {
				return err
			}
			tx.AfterCommit(func() { ran = true })
			tx.Announce(bus.Change{Kind: bus.Room, Key: "1"})
			return errors.Join(add(tx, 1), refused)
		})
		if !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if ran {
			t.Error("AfterCommit ran without a commit")
		}
		if got := ids(t, db); len(got) != 0 {
			t.Errorf("have %v", got)
		}
		view(t, db, func(tx *store.Tx) error {
			if pos, err := tx.Pos(); err != nil || pos != 0 {
				t.Errorf("the position is %d, %v", pos, err)
			}
			return nil
		})
	})
}

func TestAnnouncedAfterCommit(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		news := bus.NewLocal()
		db := testkit.Open(t, store.Options{DSN: dsn, Bus: news})
		things(t, db)
		sub := news.Subscribe()
		defer sub.Close()
		refused := errors.New("refused")
		var wg sync.WaitGroup
		for i := range int64(50) {
			wg.Go(func() {
				_ = db.Update(context.Background(), func(tx *store.Tx) error {
					tx.Announce(bus.Change{Kind: bus.Room, Pos: i})
					if i%2 == 0 {
						return refused
					}
					return add(tx, i)
				})
			})
		}
		var heard []int64
		for range 25 {
			c := <-sub.C
			heard = append(heard, c.Pos)
			if !slices.Contains(ids(t, db), c.Pos) {
				t.Errorf("%d was announced before it was there", c.Pos)
			}
		}
		wg.Wait()
		select {
		case c := <-sub.C:
			t.Errorf("also announced: %v", c)
		default:
		}
		slices.Sort(heard)
		if want := ids(t, db); !slices.Equal(heard, want) {
			t.Errorf("heard %v, want %v", heard, want)
		}
	})
}

func TestFailedStatementEndsTransaction(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			if err := add(tx, 2); err != nil {
				return err
			}
			first := add(tx, 1)
			if first == nil {
				t.Error("a key was inserted twice")
			}
			if second := add(tx, 3); !errors.Is(second, first) {
				t.Errorf("the next statement said %v", second)
			}
			return nil // swallowed
		})
		if err == nil || !strings.Contains(err.Error(), "INSERT INTO things") || !store.IsDuplicate(err) {
			t.Errorf("Update said %v", err)
		}
		if got := ids(t, db); !slices.Equal(got, []int64{1}) {
			t.Errorf("have %v", got)
		}
	})
}

func TestMisuseIsRefused(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
		var kept *store.Tx
		err := db.View(t.Context(), func(tx *store.Tx) error {
			kept = tx
			if err := add(tx, 2); err == nil {
				t.Error("a View wrote")
			}
			if _, err := tx.NextPos(1); err == nil {
				t.Error("a View took a position")
			}
			_, err := store.Select(tx, func(r store.Row) (int64, error) {
				_, err := tx.Pos()
				return 0, err
			}, `SELECT id FROM things`)
			return err
		})
		if err == nil {
			t.Error("a statement ran while rows were read")
		}
		if _, err := kept.Pos(); err == nil {
			t.Error("a Tx was used after its end")
		}
		// PostgreSQL itself refuses a write that comes in a reading transaction as a query.
		err = db.View(t.Context(), func(tx *store.Tx) error {
			_, _, err := store.One(tx, scanInt, `INSERT INTO things (id, name) VALUES (9, 'nine') RETURNING id`)
			return err
		})
		if err == nil {
			t.Error("a View wrote by a query")
		}
		if _, _, err := one(db, `SELECT id FROM things WHERE id = $2`, 1); err == nil {
			t.Error("a missing argument was not missed")
		}
		if _, _, err := one(db, `SELECT id FROM things WHERE id = $1`, 1, 2); err == nil {
			t.Error("an argument too many was not noticed")
		}
		if got := ids(t, db); !slices.Equal(got, []int64{1}) {
			t.Errorf("have %v", got)
		}
	})
}

func one(db *store.DB, query string, args ...any) (n int64, found bool, err error) {
	err = db.View(context.Background(), func(tx *store.Tx) error {
		n, found, err = store.One(tx, scanInt, query, args...)
		return err
	})
	return n, found, err
}

func TestViewIsOfOneMoment(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
		view(t, db, func(tx *store.Tx) error {
			count := func() int64 {
				n, _, err := store.One(tx, scanInt, `SELECT COUNT(*) FROM things`)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			before := count()
			update(t, db, func(tx *store.Tx) error { return add(tx, 2) })
			if after := count(); after != before {
				t.Errorf("a View saw %d things, then %d", before, after)
			}
			return nil
		})
		if got := ids(t, db); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("a later View sees %v", got)
		}
	})
}

func TestContextEnds(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := db.Update(gone, func(tx *store.Tx) error { return add(tx, 1) }); !errors.Is(err, context.Canceled) {
			t.Errorf("Update with an ended context said %v", err)
		}
		if err := db.View(gone, func(tx *store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("View with an ended context said %v", err)
		}
		// It ends between two statements.
		mid, cancel := context.WithCancel(t.Context())
		err := db.Update(mid, func(tx *store.Tx) error {
			if err := add(tx, 2); err != nil {
				return err
			}
			cancel()
			return add(tx, 3)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Update whose context ended said %v", err)
		}
		// It ends while the turn, or a row, is somebody else's.
		started, finish := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			update(t, db, func(tx *store.Tx) error {
				_, err := tx.NextPos(1)
				close(started)
				<-finish
				return err
			})
		})
		<-started
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err = db.Update(short, func(tx *store.Tx) error {
			_, err := tx.NextPos(1)
			return err
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update that waited too long said %v", err)
		}
		close(finish)
		wg.Wait()
		if got := ids(t, db); len(got) != 0 {
			t.Errorf("have %v", got)
		}
		update(t, db, func(tx *store.Tx) error {
			if pos, err := tx.Pos(); err != nil || pos != 1 {
				t.Errorf("the position is %d, %v", pos, err)
			}
			return nil
		})
	})
}

// Updates that wait at the same time share commits; each is still told its own end.
func TestUpdatesAreGathered(t *testing.T) {
	t.Parallel()
	db := testkit.DB(t, testkit.SQLite(t))
	things(t, db)
	commits := db.Commits()
	started, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		update(t, db, func(tx *store.Tx) error {
			close(started)
			<-finish
			return add(tx, 0)
		})
	})
	<-started
	for i := range int64(100) {
		wg.Go(func() { update(t, db, func(tx *store.Tx) error { return add(tx, 1+i) }) })
	}
	for db.Waiting() < 100 {
		time.Sleep(time.Millisecond)
	}
	close(finish)
	wg.Wait()
	if n := db.Commits() - commits; n != 1 {
		t.Errorf("%d commits", n)
	}
	if got := ids(t, db); len(got) != 101 {
		t.Errorf("have %d", len(got))
	}
}
