package store_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"astrocyte/store"
	"astrocyte/testkit"
)

// A reader that follows the position sees every thing once, in the order of their positions, whoever
// writes them: nothing appears behind its back.
func TestPositionsAreDenseAndInOrder(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		positions(t, db, db)
	})
}

func TestPositionsOfTwoNodes(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	positions(t, testkit.DB(t, dsn), testkit.DB(t, dsn))
}

func positions(t *testing.T, dbs ...*store.DB) {
	const writers = 200
	update(t, dbs[0], func(tx *store.Tx) error {
		_, err := tx.Exec(`CREATE TABLE log (pos {INT8} PRIMARY KEY, writer {INT8} NOT NULL)`)
		return err
	})
	refused := errors.New("refused")
	var wg sync.WaitGroup
	for w := range int64(writers) {
		wg.Go(func() {
			for round := range 3 {
				err := dbs[int(w)%len(dbs)].Update(context.Background(), func(tx *store.Tx) error {
					n := 1 + w%3
					last, err := tx.NextPos(n)
					if err != nil {
						return err
					}
					for pos := last - n + 1; pos <= last; pos++ {
						if _, err := tx.Exec(`INSERT INTO log (pos, writer) VALUES ($1, $2)`, pos, w); err != nil {
							return err
						}
					}
					if round == 1 {
						return refused
					}
					return nil
				})
				if (round == 1) != errors.Is(err, refused) || round != 1 && err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()

	var seen int64
	look := func(db *store.DB) {
		view(t, db, func(tx *store.Tx) error {
			pos, err := tx.Pos()
			if err != nil {
				return err
			}
			news, err := store.Select(tx, scanInt, `SELECT pos FROM log WHERE pos > $1 ORDER BY pos`, seen)
			if err != nil {
				return err
			}
			for _, p := range news {
				if seen++; p != seen {
					t.Errorf("after %d comes %d", seen-1, p)
					seen = p
				}
			}
			if pos != seen {
				t.Errorf("the position is %d, but the log ends at %d", pos, seen)
			}
			return nil
		})
	}
	for i := 0; ; i++ {
		look(dbs[i%len(dbs)])
		select {
		case <-done:
			look(dbs[0])
			if want := int64(2 * (67*1 + 67*2 + 66*3)); seen != want {
				t.Errorf("saw %d things, want %d", seen, want)
			}
			return
		default:
		}
	}
}

func TestNidsAreUnique(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		nids(t, db, db)
	})
}

func TestNidsOfTwoNodes(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	nids(t, testkit.DB(t, dsn), testkit.DB(t, dsn))
}

func nids(t *testing.T, dbs ...*store.DB) {
	var mu sync.Mutex
	var all []int64
	var wg sync.WaitGroup
	for w := range 20 {
		db := dbs[w%len(dbs)]
		wg.Go(func() {
			for i := range 60 {
				n := 1 + (w*i)%100
				first, err := db.Nids(context.Background(), "things", n)
				if err != nil || first < 1 {
					t.Errorf("%d, %v", first, err)
					return
				}
				mu.Lock()
				for i := range n {
					all = append(all, first+int64(i))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Errorf("%d of %d numbers were given twice", len(all)-n, len(all))
	}
}

// Numbers taken inside of an Update need no other transaction to end, and what was committed with them is
// never given again, also after a restart that gave no notice.
func TestNidsInsideUpdateSurvive(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db, err := store.Open(t.Context(), store.Options{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		things(t, db)
		refused := errors.New("refused")
		for i := range 40 {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				first, err := db.Nids(t.Context(), "things", 100)
				if err != nil {
					return err
				}
				if err := add(tx, first+99); err != nil {
					return err
				}
				if i%2 == 1 {
					return refused
				}
				return nil
			})
			if err != nil && !errors.Is(err, refused) {
				t.Fatal(err)
			}
		}
		before := ids(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = testkit.DB(t, dsn)
		first, err := db.Nids(t.Context(), "things", 1)
		if last := before[len(before)-1]; err != nil || first <= last {
			t.Errorf("%d was given after %d was used, %v", first, last, err)
		}
		if _, err := db.Nids(t.Context(), "things", 0); err == nil {
			t.Error("no numbers were given")
		}
	})
}
