package store

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// readers is how many SQLite transactions can read at the same time.
const readers = 4

// sqliteDB is the embedded engine: one connection that writes, some that read, one process.
type sqliteDB struct {
	path  string
	lock  *os.File
	log   *slog.Logger
	write *conn
	gather
	free    chan *conn // readers that nobody uses; closed with the database
	numbers numbers
	closing sync.Once
	closed  error
}

var sqliteDialect = dialect{
	macros: map[string]string{
		"INT8": "INTEGER", "TEXT": "TEXT", "BYTES": "BLOB",
		"FOR UPDATE": "", "SKIP LOCKED": "", "CLUSTERED": "WITHOUT ROWID",
		"NOW": "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
	},
	nids:  "(SELECT value & 255, value FROM json_each($))",
	keyed: "(SELECT CAST(substr(value, 1, 3) AS INTEGER), substr(value, 4) FROM json_each($))",
	in: map[string]string{
		"INT8":  "IN (SELECT value FROM json_each($))",
		"TEXT":  "IN (SELECT value FROM json_each($))",
		"BYTES": "IN (SELECT unhex(value) FROM json_each($))",
	},
	positional: true,
	finish: func(s string) string {
		switch {
		case !strings.HasPrefix(s, "CREATE TABLE"):
			return s
		case strings.HasSuffix(s, "WITHOUT ROWID"):
			return s + ", STRICT"
		}
		return s + " STRICT"
	},
}

func openSQLite(path string, log *slog.Logger) (*sqliteDB, error) {
	if path == "" || strings.HasPrefix(path, ":") {
		return nil, fmt.Errorf("sqlite:%s names no file", path)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	// SQLite gives its other files the rights of this one. They hold what is not for everybody's eyes.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		lock.Close()
		return nil, err
	}
	f.Close()
	s := &sqliteDB{path: path, lock: lock, log: log, free: make(chan *conn, readers)}
	s.gather.w = (*sqliteWriter)(s)
	all := make([]*conn, 0, 1+readers)
	for i := range cap(all) {
		c, err := s.connect(i > 0)
		if err != nil {
			for _, c := range all {
				c.close()
			}
			lock.Close()
			return nil, err
		}
		all = append(all, c)
	}
	s.write = all[0]
	for _, c := range all[1:] {
		s.free <- c
	}
	return s, nil
}

// connect opens a connection. Nothing is forced to wait for a lock, for there is no other process, but
// a checkpoint may hold a reader for a moment: hence the timeout.
func (s *sqliteDB) connect(readonly bool) (*conn, error) {
	pragmas := []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(16000)",
		"journal_size_limit(67108864)", "foreign_keys(0)", "temp_store(MEMORY)",
	}
	if readonly {
		pragmas = append(pragmas, "query_only(1)", "cache_size(-8000)")
	} else {
		pragmas = append(pragmas, "cache_size(-16000)")
	}
	q := url.Values{"_pragma": pragmas}
	raw, err := new(sqlite.Driver).Open("file:" + (&url.URL{Path: s.path}).EscapedPath() + "?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("sqlite %s: %w", s.path, err)
	}
	return newConn(raw, &sqliteDialect, encodeJSONList), nil
}

func (s *sqliteDB) name() string { return "sqlite" }

// close waits for what runs.
func (s *sqliteDB) close() error {
	s.closing.Do(func() {
		s.gather.close()
		var errs []error
		for range cap(s.free) {
			errs = append(errs, (<-s.free).close())
		}
		close(s.free)
		s.closed = errors.Join(append(errs, s.write.close(), s.lock.Close())...)
	})
	return s.closed
}

func (s *sqliteDB) update(ctx context.Context, fn func(*conn) error) error {
	return s.gather.do(ctx, fn)
}

func (s *sqliteDB) view(ctx context.Context, fn func(*conn) error) error {
	c, end, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	return fn(c)
}

// open begins a read-only transaction, which ends with end.
func (s *sqliteDB) open(ctx context.Context) (c *conn, end func(), err error) {
	select {
	case c = <-s.free:
		if c == nil {
			return nil, nil, errClosed
		}
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if err = ctx.Err(); err == nil {
		_, err = c.exec(context.Background(), "BEGIN", nil)
	}
	if err != nil {
		s.free <- c
		return nil, nil, err
	}
	return c, func() {
		_, _ = c.exec(context.Background(), "ROLLBACK", nil)
		s.free <- c
	}, nil
}

// again: what can pass by itself. There are no deadlocks on one writer.
func (s *sqliteDB) again(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	return errors.Is(err, errBatchLost)
}

func (s *sqliteDB) take(_ context.Context, counter string, n int64) (int64, error) {
	return s.numbers.take(counter, n), nil
}

// sqliteWriter is the writing connection as gather uses it.
type sqliteWriter sqliteDB

func (s *sqliteWriter) conn() *conn      { return s.write }
func (s *sqliteWriter) begin() error     { return s.do("BEGIN IMMEDIATE") }
func (s *sqliteWriter) savepoint() error { return s.do("SAVEPOINT part") }
func (s *sqliteWriter) release() error   { return s.do("RELEASE part") }
func (s *sqliteWriter) undo() error      { return s.do("ROLLBACK TO part") }

func (s *sqliteWriter) do(statement string) error {
	_, err := s.write.exec(context.Background(), statement, nil)
	return err
}

// commit also writes down up to where numbers have been given out, so that no number in the database is
// ever beyond that.
func (s *sqliteWriter) commit(callers int) error {
	began := time.Now()
	given := s.numbers.given()
	for name, taken := range given {
		if _, err := s.write.exec(context.Background(), `
			INSERT INTO counters (name, taken) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET taken = excluded.taken`, []any{name, taken}); err != nil {
			return err
		}
	}
	if err := s.do("COMMIT"); err != nil {
		return err
	}
	s.numbers.written(given)
	commitSeconds.WithLabelValues("sqlite").Observe(time.Since(began).Seconds())
	gathered.Observe(float64(callers))
	return nil
}

// rollback ends a transaction that may have ended already.
func (s *sqliteWriter) rollback() {
	if err := s.do("ROLLBACK"); err != nil {
		s.log.Debug("sqlite: rollback", "err", err)
	}
}

// numbers knows, for each counter, up to where numbers were given out in memory and in the file. It lets
// a function inside of the only writing transaction take numbers without a transaction of its own.
type numbers struct {
	mu     sync.Mutex
	memory map[string]int64
	file   map[string]int64
}

// load begins with what the file says.
func (n *numbers) load(file map[string]int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.file, n.memory = file, make(map[string]int64, len(file))
	for name, taken := range file {
		n.memory[name] = taken
	}
}

func (n *numbers) take(counter string, count int64) (last int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.memory[counter] += count
	return n.memory[counter]
}

// given is what the file does not know yet.
func (n *numbers) given() map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	var m map[string]int64
	for name, taken := range n.memory {
		if taken > n.file[name] {
			if m == nil {
				m = make(map[string]int64, 1)
			}
			m[name] = taken
		}
	}
	return m
}

func (n *numbers) written(given map[string]int64) {
	if len(given) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, taken := range given {
		n.file[name] = taken
	}
}

// encodeJSONList encodes a list for json_each.
func encodeJSONList(l list) (driver.Value, error) {
	var text []byte
	var err error
	switch l.kind {
	case 'i':
		text, err = json.Marshal(l.ints)
	case 't':
		text, err = json.Marshal(l.texts)
	case 'b':
		hexed := make([]string, len(l.bytes))
		for i, b := range l.bytes {
			hexed[i] = hex.EncodeToString(b)
		}
		text, err = json.Marshal(hexed)
	default:
		return nil, errors.New("a List of a type that is neither integer, string nor []byte")
	}
	if string(text) == "null" {
		return "[]", err
	}
	return string(text), err
}
