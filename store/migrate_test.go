package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"astrocyte/store"
	"astrocyte/testkit"
)

func steps(texts map[string]string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, text := range texts {
		files["schema/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func TestMigrations(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		const first, second = "CREATE TABLE one (id {INT8} PRIMARY KEY, name {TEXT} NOT NULL);\nINSERT INTO one (id, name) VALUES (1, 'x');\n", "INSERT INTO one (id, name) VALUES (2, 'y');"
		if err := db.Migrate(t.Context(), steps(map[string]string{"0901_a.sql": first})); err != nil {
			t.Fatal(err)
		}
		// Again, with one more; and then by the older program, which knows it not.
		if err := db.Migrate(t.Context(), steps(map[string]string{"0901_a.sql": first, "0902_b.sql": second})); err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), steps(map[string]string{"0901_a.sql": first})); err != nil {
			t.Fatal(err)
		}
		if n, _, err := one(db, `SELECT COUNT(*) FROM one`); n != 2 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
		err := db.Migrate(t.Context(), steps(map[string]string{"0901_a.sql": first + "-- changed", "0902_b.sql": second}))
		if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "0901_a.sql") {
			t.Errorf("a changed step: %v", err)
		}
		// A step that fails leaves nothing behind, and is tried again when it is mended.
		err = db.Migrate(t.Context(), steps(map[string]string{"0903_c.sql": "CREATE TABLE three (id {INT8} PRIMARY KEY); INSERT INTO none (id) VALUES (1)"}))
		if err == nil {
			t.Error("a broken step was applied")
		}
		if err := db.Migrate(t.Context(), steps(map[string]string{"0903_c.sql": "CREATE TABLE three (id {INT8} PRIMARY KEY)"})); err != nil {
			t.Error(err)
		}
		for why, texts := range map[string]map[string]string{
			"two of one number": {"0904_a.sql": "SELECT 1", "0904_b.sql": "SELECT 1"},
			"no number":         {"name.sql": "SELECT 1"},
			"unknown macro":     {"0905_a.sql": "CREATE TABLE x (id {INT9})"},
		} {
			if err := db.Migrate(t.Context(), steps(texts)); err == nil {
				t.Errorf("%s was applied", why)
			}
		}
	})
}

// Nodes that start at the same time on an empty database all come up.
func TestNodesStartTogether(t *testing.T) {
	t.Parallel()
	dsn := testkit.SharedPostgres(t).Empty(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			db, err := store.Open(t.Context(), store.Options{DSN: dsn})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// secondProcess is the variable that makes the test binary the second process.
const secondProcess = "ASTROCYTE_TEST_SECOND_PROCESS"

func TestSecondProcessIsRefused(t *testing.T) {
	if dsn := os.Getenv(secondProcess); dsn != "" {
		db, err := store.Open(t.Context(), store.Options{DSN: dsn})
		if err == nil {
			db.Close()
			t.Fatal("opened")
		}
		t.Fatal(err)
	}
	t.Parallel()
	dsn := testkit.SQLite(t)
	db, err := store.Open(t.Context(), store.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	second := func() string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSecondProcessIsRefused$")
		cmd.Env = append(os.Environ(), secondProcess+"="+dsn)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := second(); !strings.Contains(out, "in use by the process with pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("the second process said %s", out)
	}
	var inUse *store.InUse
	if _, err := store.Open(t.Context(), store.Options{DSN: dsn}); !errors.As(err, &inUse) {
		t.Errorf("a second opening: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if out := second(); !strings.Contains(out, "opened") {
		t.Errorf("after the first has ended, the second process said %s", out)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, dsn := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:/no/such/directory/x.db", "postgres://x@127.0.0.1:1/x?sslmode=none-such"} {
		if db, err := store.Open(t.Context(), store.Options{DSN: dsn}); err == nil {
			db.Close()
			t.Errorf("%q was opened", dsn)
		}
	}
}

func TestUseAfterClose(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db, err := store.Open(t.Context(), store.Options{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		things(t, db)
		var wg sync.WaitGroup
		done := make([]bool, 50)
		for i := range done {
			wg.Go(func() {
				done[i] = db.Update(t.Context(), func(tx *store.Tx) error { return add(tx, int64(i)) }) == nil
			})
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		nothing := func(*store.Tx) error { return nil }
		if db.Update(t.Context(), nothing) == nil || db.View(t.Context(), nothing) == nil {
			t.Error("a closed database was used")
		}
		if err := db.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		// What was acknowledged is there.
		db = testkit.DB(t, dsn)
		there := make(map[int64]bool)
		for _, id := range ids(t, db) {
			there[id] = true
		}
		for i, ok := range done {
			if ok != there[int64(i)] {
				t.Errorf("thing %d: acknowledged %v, there %v", i, ok, there[int64(i)])
			}
		}
	})
}

func TestDatabaseFileIsPrivate(t *testing.T) {
	t.Parallel()
	dsn := testkit.SQLite(t)
	db := testkit.DB(t, dsn)
	things(t, db)
	path := strings.TrimPrefix(dsn, "sqlite:")
	for _, file := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
}

func TestOtherEncodingIsRefused(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	admin, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	name := fmt.Sprintf("astrocyte_ascii_%d", os.Getpid())
	if _, err := admin.Exec(`CREATE DATABASE ` + name + ` TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`); err != nil {
		t.Fatal(err)
	}
	defer admin.Exec(`DROP DATABASE ` + name + ` WITH (FORCE)`)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	db, err := store.Open(t.Context(), store.Options{DSN: u.String()})
	if !errors.Is(err, store.ErrSchema) {
		t.Errorf("opened: %v", err)
	}
	if err == nil {
		db.Close()
	}
}
