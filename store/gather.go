package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// gatheredMost bounds how many Updates share one transaction, and with it how long the first waits.
const gatheredMost = 256

// errBatchLost is told to Updates whose shared transaction ended through another's failure: they try again.
var errBatchLost = errors.New("the shared transaction was lost")

// gather lets Updates that come at the same time share one transaction on the only writing connection,
// and so one fsync.
//
// There is no committer goroutine. The right to use the connection, the turn, goes from caller to
// caller: each runs its own function, on its own goroutine, in a savepoint of the open transaction, and
// passes the turn on to the next who waits. The one who finds nobody waiting commits, for all since the
// last commit. While it does, the next ones gather.
type gather struct {
	w writer

	mu      sync.Mutex
	busy    bool      // somebody has the turn
	closed  bool      // nobody gets it any more
	waiting []*caller // for the turn, in the order of their coming
}

// writer is the writing connection's transaction, as gather uses it.
type writer interface {
	begin() error
	// savepoint begins a part of the transaction that can be undone alone; release ends it, undo undoes it.
	savepoint() error
	release() error
	undo() error
	commit(callers int) error
	rollback()
	conn() *conn
}

// caller is an Update that waits: first for its turn, then for the commit.
type caller struct {
	turn  chan *batch // gives the turn
	done  chan error  // tells how the commit went
	state atomic.Int32
}

func newCaller() *caller {
	return &caller{turn: make(chan *batch, 1), done: make(chan error, 1)}
}

const (
	isWaiting = iota
	hasTurn   // or is about to get it
	hasLeft   // its context ended before
)

// batch is one transaction: those whose functions ran well in it and who wait for its commit.
type batch struct {
	open    bool
	callers []*caller
}

// do runs fn in a transaction and returns when that is committed, or with the reason why it is not.
func (g *gather) do(ctx context.Context, fn func(*conn) error) error {
	me := newCaller()
	b, err := g.takeTurn(ctx, me, false)
	if err != nil {
		return err
	}
	if err := g.runPart(ctx, b, me, fn); err != nil {
		return err
	}
	return <-me.done
}

// close refuses those who come from now on, and waits for all who came before.
func (g *gather) close() {
	me := newCaller()
	b, err := g.takeTurn(context.Background(), me, true) // the last one that anybody gets
	if err == nil {
		g.passTurn(b)
	}
}

// takeTurn waits for the turn, which is the last one if that is wished. It gives the batch to take part in.
func (g *gather) takeTurn(ctx context.Context, me *caller, last bool) (*batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, errClosed
	}
	g.closed = last
	if !g.busy {
		g.busy = true
		g.mu.Unlock()
		me.state.Store(hasTurn)
		return &batch{}, nil
	}
	g.waiting = append(g.waiting, me)
	g.mu.Unlock()
	select {
	case b := <-me.turn:
		return b, nil
	case <-ctx.Done():
		if me.state.CompareAndSwap(isWaiting, hasLeft) {
			return nil, ctx.Err()
		}
		return <-me.turn, nil // it is on its way, and must be passed on
	}
}

// runPart runs fn as a part of the batch and passes the turn on, also when fn panics or ends the
// goroutine. An error is the caller's own, and then it has no part in the batch.
func (g *gather) runPart(ctx context.Context, b *batch, me *caller, fn func(*conn) error) (err error) {
	first, clean := !b.open, false
	defer func() {
		switch {
		case clean && err == nil:
			b.callers = append(b.callers, me)
		case b.open && first:
			g.w.rollback()
			b.open = false
		case b.open && (g.w.undo() != nil || g.w.release() != nil):
			// A full disk and the like end the whole transaction, not only the part.
			g.w.rollback()
			b.end(errBatchLost)
		}
		g.passTurn(b)
	}()
	if err = ctx.Err(); err != nil {
		return err
	}
	if first {
		if err = g.w.begin(); err != nil {
			return err
		}
		b.open = true
	} else if err = g.w.savepoint(); err != nil {
		return err
	}
	if err = fn(g.w.conn()); err == nil && !first {
		err = g.w.release()
	}
	clean = true
	return err
}

// passTurn gives the turn to the next caller, or commits when nobody waits or the batch is full.
func (g *gather) passTurn(b *batch) {
	for {
		next := g.next(len(b.callers) < gatheredMost || !b.open, b)
		if next != nil {
			next.turn <- b
			return
		}
		if !b.open {
			return // next has given up the turn
		}
		if err := g.w.commit(len(b.callers)); err != nil {
			g.w.rollback()
			b.end(err)
		} else {
			b.end(nil)
		}
	}
}

// next takes the first of those who wait. It gives nil when the batch has to be committed before; without
// an open batch, it ends the turn where nobody waits.
func (g *gather) next(room bool, b *batch) *caller {
	g.mu.Lock()
	defer g.mu.Unlock()
	for room && len(g.waiting) > 0 {
		c := g.waiting[0]
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		if c.state.CompareAndSwap(isWaiting, hasTurn) {
			return c
		}
	}
	if !b.open {
		g.busy = false
	}
	return nil
}

// end tells the batch's callers how it went, and makes the batch ready for the next transaction.
func (b *batch) end(err error) {
	for _, c := range b.callers {
		c.done <- err
	}
	b.open, b.callers = false, nil
}
