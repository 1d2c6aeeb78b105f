package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// newest is the position of the newest commit, where one process makes them all.
type newest struct{ pos atomic.Int64 }

// note takes the position of a commit. Of two that were one commit either may come first.
func (n *newest) note(pos int64) {
	for {
		was := n.pos.Load()
		if pos <= was || n.pos.CompareAndSwap(was, pos) {
			return
		}
	}
}

// Newest is the position of the newest commit, from memory; false where other nodes commit too, so that
// only the database knows.
func (db *DB) Newest() (pos int64, known bool) {
	if db.embedded == nil {
		return 0, false
	}
	return db.newest.pos.Load(), true
}

// readNewest begins with what the database says.
func (db *DB) readNewest(ctx context.Context) error {
	err := db.View(ctx, func(tx *Tx) error {
		pos, err := tx.Pos()
		db.newest.note(pos)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the newest position: %w", err)
	}
	return nil
}

// late is how a transaction begins that has not begun.
type late struct {
	pos   int64
	begin func() (c *conn, end func(), err error)
	end   func() // nil: there is nothing to end
}

// errMoved says that the stream has moved on since the moment of a transaction that begins now.
var errMoved = errors.New("the stream has moved on")

// ViewAt is View at the moment when the stream was at a position, for those who know from memory much of
// what was then: the transaction begins with the first statement, and where there is none it costs
// nothing. Where the stream has moved on until then, fn runs again, in a View of now. So the answer is of one
// moment, if what fn has from memory was so at the position.
func (db *DB) ViewAt(ctx context.Context, pos int64, fn func(tx *Tx) error) error {
	if db.embedded == nil {
		return db.View(ctx, fn)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tx := &Tx{ctx: ctx, readonly: true, late: &late{pos: pos, begin: func() (*conn, func(), error) { return db.embedded.open(ctx) }}}
	err := tx.runLate(fn)
	if err != nil && (errors.Is(err, errMoved) || db.engine.again(err)) {
		return db.View(ctx, fn)
	}
	return err
}

// runLate calls the function of a ViewAt.
func (tx *Tx) runLate(fn func(tx *Tx) error) error {
	l := tx.late
	defer func() {
		tx.c, tx.late = nil, nil
		if l.end != nil {
			l.end()
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.err
}

// Begin begins a transaction that would begin with its first statement. Who takes a lock that others may wait
// for in a transaction, and then reads, calls it before: else they could wait for each other, for the lock and
// for a connection.
func (tx *Tx) Begin() error { return tx.ready() }

// begin begins the transaction, if the stream is still where it was.
func (tx *Tx) begin() (err error) {
	l := tx.late
	if tx.c, l.end, err = l.begin(); err != nil {
		return err
	}
	now, _, err := One(tx, scanInt, posQuery)
	if err == nil && now != l.pos {
		err = errMoved
	}
	return err
}
