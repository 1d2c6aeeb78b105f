package store_test

import (
	"testing"

	"astrocyte/store"
	"astrocyte/testkit"
)

// TestViewAtIsOfOneMoment lets the stream move between what is known from memory and the first statement.
func TestViewAtIsOfOneMoment(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.Open(t, store.Options{DSN: dsn})
		commit := func() (pos int64) {
			t.Helper()
			err := db.Update(t.Context(), func(tx *store.Tx) (err error) {
				pos, err = tx.NextPos(1)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return pos
		}
		first := commit()
		newest, known := db.Newest()
		if known && newest != first {
			t.Fatalf("the newest position is %d, want %d", newest, first)
		}
		count := func(tx *store.Tx) error {
			return store.Each(tx, func(store.Row) error { return nil }, `SELECT pos FROM streams`)
		}
		var told []int64
		view := func(at int64, between func()) {
			t.Helper()
			told = nil
			err := db.ViewAt(t.Context(), at, func(tx *store.Tx) error {
				pos, err := tx.Pos()
				if told = append(told, pos); err != nil {
					return err
				}
				if between != nil {
					between()
					between = nil
					return count(tx)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if view(first, nil); len(told) != 1 || told[0] != first {
			t.Errorf("without a statement: %v, want %d", told, first)
		}
		if view(first, func() {}); len(told) != 1 || told[0] != first {
			t.Errorf("with a statement: %v, want %d", told, first)
		}
		second := int64(0)
		view(first, func() { second = commit() })
		if known && (len(told) != 2 || told[0] != first || told[1] != second) {
			t.Errorf("where the stream moved on: %v, want %d, then %d", told, first, second)
		}
		if newest, known := db.Newest(); known && newest != second {
			t.Errorf("the newest position is %d, want %d", newest, second)
		}
	})
}
