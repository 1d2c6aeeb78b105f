package store

import (
	"context"
	"encoding/binary"
	"io/fs"
	"os"
	"time"
)

// Migrate applies other steps than the embedded ones.
func (db *DB) Migrate(ctx context.Context, files fs.FS) error { return db.migrate(ctx, files) }

// OnWriter runs a statement on SQLite's writing connection, outside of a transaction.
func (db *DB) OnWriter(statement string) error {
	s := db.engine.(*sqliteDB)
	me := newCaller()
	b, err := s.gather.takeTurn(context.Background(), me, false)
	if err != nil {
		return err
	}
	defer s.gather.passTurn(b)
	if b.open {
		panic("a transaction is open")
	}
	_, err = s.write.exec(context.Background(), statement, nil)
	return err
}

// Logged is how many pages of SQLite's log wait to be copied, and what Run leaves alone.
func (db *DB) Logged() (pages, most uint32) {
	return db.engine.(*sqliteDB).logged(), checkpointFrames
}

// Commits counts SQLite's commits, as the index of its log does.
func (db *DB) Commits() uint32 {
	head, err := os.ReadFile(db.engine.(*sqliteDB).path + "-shm")
	if err != nil {
		panic(err)
	}
	return binary.NativeEndian.Uint32(head[8:])
}

// Waiting is how many Updates wait for SQLite's writing connection.
func (db *DB) Waiting() int {
	g := &db.engine.(*sqliteDB).gather
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// SetTerm sets how long a claim lasts.
func (q *Jobs) SetTerm(d time.Duration) { q.term = d }
