package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"astrocyte/bus"
)

// Options say which database to open.
type Options struct {
	// DSN is "sqlite:PATH", or a PostgreSQL URL, postgres://user@host/database?….
	DSN string
	// Bus gets what transactions announce. Without one there are no sleepers to wake.
	Bus bus.Bus
	Log *slog.Logger
	// Conns bounds the connections to PostgreSQL; 0 means 16.
	Conns int
}

// DB is the database of a node.
type DB struct {
	engine   engine
	embedded *sqliteDB // the engine, where it is this one: no other process commits
	newest   newest
	bus      bus.Bus
	log      *slog.Logger

	nids sync.Mutex // guards blocks; taken before nothing else but the engine's own locks
	// blocks are the numbers of each counter that this node may still give out.
	blocks map[string]block
}

// engine is what differs between the databases.
type engine interface {
	name() string
	// update runs fn in a read-write transaction and commits it.
	update(ctx context.Context, fn func(*conn) error) error
	// view runs fn in a read-only transaction.
	view(ctx context.Context, fn func(*conn) error) error
	// again says that a transaction failed without a commit, for a reason that may be gone at the next try.
	again(err error) bool
	// take gives the last of n numbers of a counter that nobody else gets.
	take(ctx context.Context, counter string, n int64) (last int64, err error)
	// run does what the engine needs done beside the transactions.
	run(ctx context.Context) error
	close() error
}

// attempts bounds how often a transaction is tried.
const attempts = 10

// Open opens the database, and brings its schema up to date.
func Open(ctx context.Context, o Options) (*DB, error) {
	db := &DB{bus: o.Bus, log: o.Log, blocks: make(map[string]block)}
	if db.bus == nil {
		db.bus = bus.NewLocal()
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	var err error
	switch scheme, path, _ := strings.Cut(o.DSN, ":"); scheme {
	case "sqlite":
		if db.embedded, err = openSQLite(path, db.log); err == nil {
			db.engine = db.embedded
		}
	case "postgres", "postgresql":
		db.engine, err = openPostgres(o)
	default:
		return nil, fmt.Errorf("open database: %q is neither sqlite:PATH nor postgres://…", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := db.migrate(ctx, migrations()); err != nil {
		db.Close()
		return nil, err
	}
	if err := db.readNewest(ctx); err != nil {
		db.Close()
		return nil, err
	}
	if db.embedded != nil { // no other process has the file: whoever had claimed a job is gone
		if err := db.freeJobs(ctx); err != nil {
			db.Close()
			return nil, err
		}
	}
	return db, nil
}

// Run does what the database needs done while it is used, until the context ends. The database can be
// used before.
func (db *DB) Run(ctx context.Context) error {
	return db.engine.run(ctx)
}

// Close ends all use. Running transactions are waited for.
func (db *DB) Close() error { return db.engine.close() }

// Engine is "sqlite" or "postgres".
func (db *DB) Engine() string { return db.engine.name() }

// Update runs fn in one read-write transaction and commits it. What fn announced is published after the
// commit, so that nobody wakes for something that did not happen. The engine may ask for another try:
// fn must be safe to run again, and must not talk to the network, nor call Update.
//
// The isolation is PostgreSQL's READ COMMITTED: lock with {FOR UPDATE} what must not change between its
// reading and the commit. On SQLite there is only one writer.
func (db *DB) Update(ctx context.Context, fn func(tx *Tx) error) error {
	began := time.Now()
	for try := 1; ; try++ {
		tx := &Tx{ctx: ctx}
		err := db.engine.update(ctx, func(c *conn) error { return tx.run(c, fn) })
		if err == nil {
			updateSeconds.WithLabelValues(db.Engine()).Observe(time.Since(began).Seconds())
			db.committed(ctx, tx)
			return nil
		}
		if try == attempts || !db.engine.again(err) || !pause(ctx, try) {
			return err
		}
		retries.WithLabelValues(db.Engine()).Inc()
	}
}

// committed publishes what a transaction announced, and runs what waited for its commit.
func (db *DB) committed(ctx context.Context, tx *Tx) {
	db.newest.note(tx.taken)
	for _, fn := range tx.after {
		fn()
	}
	if len(tx.changes) > 0 {
		db.bus.Publish(context.WithoutCancel(ctx), tx.changes...)
	}
}

// View runs fn in one read-only transaction, which sees one moment. fn may run again.
func (db *DB) View(ctx context.Context, fn func(tx *Tx) error) error {
	for try := 1; ; try++ {
		tx := &Tx{ctx: ctx, readonly: true}
		err := db.engine.view(ctx, func(c *conn) error { return tx.run(c, fn) })
		if err == nil || try == attempts || !db.engine.again(err) || !pause(ctx, try) {
			return err
		}
		retries.WithLabelValues(db.Engine()).Inc()
	}
}

// pause waits a random time that grows with the tries, and is false when the context ends before.
func pause(ctx context.Context, try int) bool {
	t := time.NewTimer(rand.N(min(time.Millisecond<<try, 200*time.Millisecond)))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
