package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"astrocyte/store"
	"astrocyte/testkit"
)

// things makes a table for tests.
func things(t testing.TB, db *store.DB) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.Exec(`CREATE TABLE things (id {INT8} PRIMARY KEY, name {TEXT} NOT NULL, body {BYTES})`)
		return err
	})
}

func update(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func scanInt(r store.Row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
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

func TestFailingFunctionAloneFails(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		things(t, db)
		refused := errors.New("refused")
		var wg sync.WaitGroup
		for i := range int64(200) {
			wg.Go(func() {
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					if _, err := tx.Exec(`INSERT INTO things (id, name) VALUES ($1, $2)`, i, fmt.Sprint("thing ", i)); err != nil {
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
