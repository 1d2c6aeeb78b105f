// Package testkit makes what tests need, from real parts: databases on both engines, and servers.
package testkit

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"astrocyte/bus"
	"astrocyte/store"
)

// Each runs a test on SQLite and on PostgreSQL, each time with the DSN of a fresh database of its own.
//
// PostgreSQL is the server of ASTROCYTE_TEST_POSTGRES, the DSN of a database from which others can be
// created, or else one that is started once for the test binary from programs on this machine. Where
// neither is there the PostgreSQL half is skipped, but not where CI is set.
func Each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, Postgres(t))
	})
}

// SQLite gives the DSN of a database file that does not exist yet.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "astrocyte.db")
}

// Postgres gives the DSN of a fresh PostgreSQL database, which is dropped after the test.
func Postgres(t testing.TB) string {
	t.Helper()
	return SharedPostgres(t).Database(t)
}

// SharedPostgres gives the PostgreSQL server of this test binary.
func SharedPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	server, err := sharedServer()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no PostgreSQL: %v", err)
		}
		t.Skipf("NOT TESTED ON POSTGRESQL: %v", err)
	}
	return server
}

// DB opens a database and runs it for the time of the test, with a bus of its own.
func DB(t testing.TB, dsn string) *store.DB {
	t.Helper()
	return Open(t, store.Options{DSN: dsn, Bus: bus.NewLocal()})
}

// Open opens a database with options of the test's own, and runs it for the time of the test.
func Open(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	db, err := store.Open(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run the database: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return db
}
