// Package testkit makes what tests need, from real parts: databases on both engines, and servers.
package testkit

import (
	"path/filepath"
	"testing"

	"astrocyte/bus"
	"astrocyte/store"
)

// Each runs a test on SQLite and on PostgreSQL, each time with the DSN of an empty database of its own.
func Each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "astrocyte.db"))
	})
}

// DB opens a database for the time of the test, with a bus of its own.
func DB(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{DSN: dsn, Bus: bus.NewLocal()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return db
}
