package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/store"
	"astrocyte/testkit"
)

// A full disk: who does not fit gets an error, nothing is half there, and all is well once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	db := testkit.DB(t, testkit.SQLite(t))
	things(t, db)
	if err := db.OnWriter(`PRAGMA max_page_count = 60`); err != nil {
		t.Fatal(err)
	}
	acknowledged := fillUp(t, db)
	if err := db.OnWriter(`PRAGMA max_page_count = 100000`); err != nil {
		t.Fatal(err)
	}
	stillWorks(t, db, acknowledged)
}

// A file that cannot be written, for a while.
func TestReadonlyFile(t *testing.T) {
	t.Parallel()
	db := testkit.DB(t, testkit.SQLite(t))
	things(t, db)
	update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
	if err := db.OnWriter(`PRAGMA query_only = 1`); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return add(tx, 2) }); err == nil {
		t.Error("written into a file that cannot be written")
	}
	if got := ids(t, db); !slices.Equal(got, []int64{1}) {
		t.Errorf("have %v", got)
	}
	if err := db.OnWriter(`PRAGMA query_only = 0`); err != nil {
		t.Fatal(err)
	}
	stillWorks(t, db, []int64{1})
}

// fillUp writes from many sides until there is no room, and gives what was acknowledged.
func fillUp(t *testing.T, db *store.DB) (acknowledged []int64) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed atomic.Int64
	for w := range int64(16) {
		wg.Go(func() {
			for i := range int64(40) {
				id := w*1000 + i
				body := make([]byte, 500)
				if id%5 == 0 {
					body = make([]byte, 20_000)
				}
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					_, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, 'x', $2)`, id, body)
					return err
				})
				if err != nil {
					failed.Add(1)
					continue
				}
				mu.Lock()
				acknowledged = append(acknowledged, id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed.Load() == 0 || len(acknowledged) == 0 {
		t.Errorf("%d failed, %d were acknowledged: the disk was not full", failed.Load(), len(acknowledged))
	}
	slices.Sort(acknowledged)
	return acknowledged
}

// stillWorks checks that what was acknowledged is there, nothing else is, and more can be written.
func stillWorks(t *testing.T, db *store.DB, acknowledged []int64) {
	t.Helper()
	if got := ids(t, db); !slices.Equal(got, acknowledged) {
		t.Errorf("%d are there, %d were acknowledged", len(got), len(acknowledged))
	}
	update(t, db, func(tx *store.Tx) error { return add(tx, 1<<40) })
	if got := ids(t, db); len(got) != len(acknowledged)+1 {
		t.Errorf("%d are there after one more than %d", len(got), len(acknowledged))
	}
}

// A statement that ends the whole shared transaction, as a full disk may: its own Update fails, and those
// who shared the transaction are done again.
func TestLostBatchIsDoneAgain(t *testing.T) {
	t.Parallel()
	db := testkit.DB(t, testkit.SQLite(t))
	things(t, db)
	if err := db.OnWriter(`CREATE TRIGGER fatal BEFORE INSERT ON things WHEN NEW.id % 10 = 7
		BEGIN SELECT RAISE(ROLLBACK, 'the end of all'); END`); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var runs atomic.Int64
	for i := range int64(100) {
		wg.Go(func() {
			err := db.Update(context.Background(), func(tx *store.Tx) error {
				runs.Add(1)
				return add(tx, i)
			})
			if (err != nil) != (i%10 == 7) {
				t.Errorf("thing %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := ids(t, db); len(got) != 90 {
		t.Errorf("have %v", got)
	}
	t.Logf("%d runs", runs.Load())
}

// A commit that fails: nobody is told that it went well, nothing is there, and numbers that were given out
// meanwhile are not given again.
func TestFailedCommit(t *testing.T) {
	t.Parallel()
	db := testkit.DB(t, testkit.SQLite(t))
	things(t, db)
	if err := db.OnWriter(`CREATE TRIGGER fatal BEFORE INSERT ON counters BEGIN SELECT RAISE(ABORT, 'not now'); END`); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range int64(20) {
		wg.Go(func() {
			err := db.Update(context.Background(), func(tx *store.Tx) error {
				if _, err := db.Nids(context.Background(), "things", 1); err != nil {
					return err
				}
				tx.AfterCommit(func() { t.Error("AfterCommit ran") })
				return add(tx, i)
			})
			if err == nil {
				t.Errorf("thing %d was acknowledged", i)
			}
		})
	}
	wg.Wait()
	if got := ids(t, db); len(got) != 0 {
		t.Errorf("have %v", got)
	}
	// The number that was given is still to be written down, which hinders all commits until it works.
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return add(tx, 50) }); err == nil {
		t.Error("committed without the counter")
	}
	if err := db.OnWriter(`DROP TRIGGER fatal`); err != nil {
		t.Fatal(err)
	}
	stillWorks(t, db, nil)
	if n, _, err := one(db, `SELECT taken FROM counters WHERE name = 'things'`); n < 20 || err != nil {
		t.Errorf("%d are taken, %v", n, err)
	}
}

// Transactions that wait for each other: both are done in the end.
func TestDeadlock(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error { return errors.Join(add(tx, 1), add(tx, 2)) })
		var wg sync.WaitGroup
		for i := range int64(2) {
			wg.Go(func() {
				first, second := 1+i%2, 2-i%2
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					if _, err := tx.Exec(`UPDATE things SET name = name || '.' WHERE id = $1`, first); err != nil {
						return err
					}
					time.Sleep(10 * time.Millisecond)
					_, err := tx.Exec(`UPDATE things SET name = name || '.' WHERE id = $1`, second)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n, _, err := one(db, `SELECT SUM(LENGTH(name)) FROM things`); n != 2*(7+2) || err != nil {
			t.Errorf("%d characters, %v", n, err)
		}
	})
}

// A connection that the server ends in the middle of a transaction: it is done again.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	db := testkit.DB(t, testkit.Postgres(t))
	things(t, db)
	for _, run := range []struct {
		what string
		do   func(context.Context, func(*store.Tx) error) error
	}{{"Update", db.Update}, {"View", db.View}} {
		runs := 0
		err := run.do(t.Context(), func(tx *store.Tx) error {
			if runs++; runs > 2 {
				return nil
			}
			_, _, err := store.One(tx, func(store.Row) (int, error) { return 0, nil },
				`SELECT pg_terminate_backend(pg_backend_pid())`)
			if err == nil {
				t.Error("the connection still lives")
			}
			return err
		})
		if err != nil || runs != 3 {
			t.Errorf("%s: %d runs, %v", run.what, runs, err)
		}
	}
	// All at once, between transactions.
	var wg sync.WaitGroup
	for i := range int64(10) {
		wg.Go(func() {
			update(t, db, func(tx *store.Tx) error { time.Sleep(5 * time.Millisecond); return add(tx, i) })
		})
	}
	wg.Wait()
	other := testkit.DB(t, dsnOf(t, db))
	view(t, other, func(tx *store.Tx) error {
		_, err := store.Select(tx, func(store.Row) (int, error) { return 0, nil }, `
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		return err
	})
	update(t, db, func(tx *store.Tx) error { return add(tx, 100) })
	if got := ids(t, db); len(got) != 11 {
		t.Errorf("have %v", got)
	}
}

// dsnOf asks the database where it is.
func dsnOf(t *testing.T, db *store.DB) (dsn string) {
	t.Helper()
	view(t, db, func(tx *store.Tx) error {
		name, _, err := store.One(tx, scanText, `SELECT CAST(current_database() AS TEXT)`)
		if err != nil {
			return err
		}
		sockets, _, err := store.One(tx, scanText, `SELECT setting FROM pg_settings WHERE name = 'unix_socket_directories'`)
		dsn = "postgres://postgres@/" + name + "?sslmode=disable&host=" + url.QueryEscape(sockets)
		return err
	})
	return dsn
}

// The server stops and comes back: meanwhile errors, afterwards all is well by itself.
func TestServerStopsAndStarts(t *testing.T) {
	t.Parallel()
	server := testkit.NewPostgresServer(t)
	db := testkit.DB(t, server.Database(t))
	things(t, db)
	update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
	server.Stop(t)
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return add(tx, 2) }); err == nil {
		t.Error("written without a server")
	}
	if err := db.View(t.Context(), func(tx *store.Tx) error { return nil }); err == nil {
		t.Error("read without a server")
	}
	server.Start(t)
	update(t, db, func(tx *store.Tx) error { return add(tx, 3) })
	if got := ids(t, db); !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("have %v", got)
	}
}

// A connection that breaks during COMMIT: nobody knows how it went, so the error says that, and the
// function is not run again. One that breaks before is none of that.
func TestConnectionLostDuringCommit(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	if !strings.Contains(dsn, "host=") {
		t.Skip("needs the server of the testkit")
	}
	p := newCutter(t, dsn)
	direct, db := testkit.DB(t, dsn), testkit.DB(t, p.dsn)
	things(t, direct)
	for _, c := range []struct {
		what   string
		at     string
		pass   bool // the message still reaches the server
		unsure bool
	}{
		{"before COMMIT arrives", "COMMIT\x00", false, true},
		{"after COMMIT has arrived", "COMMIT\x00", true, true},
		{"at an INSERT", "thing to cut", false, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			runs := 0
			p.arm(c.at, c.pass)
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				runs++
				_, err := tx.Exec(`INSERT INTO things (id, name) VALUES ($1, $2)`, 1, "thing to cut")
				return err
			})
			switch {
			case c.unsure && (!errors.Is(err, store.ErrUnknownOutcome) || runs != 1):
				t.Errorf("%d runs, %v", runs, err)
			case !c.unsure && (err != nil || runs != 2):
				t.Errorf("%d runs, %v", runs, err)
			}
			want := 0
			if c.pass || !c.unsure {
				want = 1
			}
			for i := 0; len(ids(t, direct)) != want; i++ { // the server may still be at it
				if i > 500 {
					t.Fatalf("have %v", ids(t, direct))
				}
				time.Sleep(10 * time.Millisecond)
			}
			update(t, direct, func(tx *store.Tx) error { _, err := tx.Exec(`DELETE FROM things`); return err })
		})
	}
}

// cutter stands between a database and its clients, and cuts a connection at a certain text, once.
type cutter struct {
	dsn  string
	mu   sync.Mutex
	at   []byte
	pass bool
}

func newCutter(t *testing.T, dsn string) *cutter {
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	socket := u.Query().Get("host") + "/.s.PGSQL.5432"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u.Host, u.RawQuery = l.Addr().String(), "sslmode=disable"
	p := &cutter{dsn: u.String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				client.Close()
				return
			}
			go p.forward(client, server)
			go func() { io.Copy(client, server); client.Close() }()
		}
	}()
	return p
}

func (p *cutter) arm(at string, pass bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.pass = []byte(at), pass
}

// forward takes it that a message of the driver comes in one piece, as it does from one write.
func (p *cutter) forward(client, server net.Conn) {
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut, pass := p.at != nil && bytes.Contains(buf[:n], p.at), p.pass
		if cut {
			p.at = nil
		}
		p.mu.Unlock()
		if cut {
			client.Close()
			if pass {
				server.Write(buf[:n])
			}
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			client.Close()
			return
		}
	}
}

// A schema that another node changed under prepared statements.
func TestStalePlan(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	db, other := testkit.DB(t, dsn), testkit.DB(t, dsn)
	things(t, db)
	update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
	read := func() {
		t.Helper()
		view(t, db, func(tx *store.Tx) error {
			name, found, err := store.One(tx, scanText, `SELECT name FROM things WHERE id = $1`, 1)
			if err != nil {
				return err // perhaps of the stale plan: it is tried again
			}
			if name != "thing 1" || !found {
				t.Errorf("read %q, %v", name, found)
			}
			return nil
		})
	}
	read()
	update(t, other, func(tx *store.Tx) error {
		_, err := tx.Exec(`ALTER TABLE things ALTER COLUMN name TYPE VARCHAR(100)`)
		return err
	})
	read()
}

// Run copies the log while nobody commits.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	dsn := testkit.SQLite(t)
	db, err := store.Open(t.Context(), store.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	things(t, db)
	update(t, db, func(tx *store.Tx) error {
		for i := range 40 {
			if _, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, 'x', $2)`, i, make([]byte, 1<<18)); err != nil {
				return err
			}
		}
		return nil
	})
	if pages, most := db.Logged(); pages < most {
		t.Fatalf("%d pages are in the log", pages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	for {
		if pages, _ := db.Logged(); pages == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
