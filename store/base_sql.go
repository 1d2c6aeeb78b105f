package store

import (
	"context"
	"fmt"
)

// NextPos takes the next n positions of the stream, and gives the last of them. Other transactions that
// want positions wait from here to the commit, so it is called late.
//
// The counter row makes READ COMMITTED enough: the UPDATE waits for whoever has the row locked, reads
// what they committed, and keeps it locked. A transaction becomes visible before its locks are
// released, so whoever sees position p sees all positions before it.
func (tx *Tx) NextPos(n int64) (last int64, err error) {
	if tx.readonly {
		return 0, errView
	}
	last, found, err := One(tx, scanInt, `UPDATE streams SET pos = pos + $1 WHERE name = 'main' RETURNING pos`, n)
	if err == nil && !found {
		err = fmt.Errorf("the stream has no row")
	}
	tx.taken = last
	return last, err
}

// Pos is the newest position of the stream that the transaction can see.
func (tx *Tx) Pos() (int64, error) {
	if tx.late != nil {
		return tx.late.pos, tx.err
	}
	pos, _, err := One(tx, scanInt, posQuery)
	return pos, err
}

const posQuery = `SELECT pos FROM streams WHERE name = 'main'`

func scanInt(r Row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}

// nidsTaken is how many numbers a node takes from a counter at a time.
const nidsTaken = 1024

// block is a run of numbers that this node may give out.
type block struct{ next, last int64 }

// Nids gives n numbers of a counter that nobody else gets, from first on. They are never given twice,
// but some may never be used. It may be called inside of an Update.
func (db *DB) Nids(ctx context.Context, counter string, n int) (first int64, err error) {
	if n < 1 {
		return 0, fmt.Errorf("%d numbers of counter %s", n, counter)
	}
	db.nids.Lock()
	defer db.nids.Unlock()
	b := db.blocks[counter]
	if b.next == 0 || b.last-b.next+1 < int64(n) { // 0: nothing was taken yet
		size := max(int64(n), nidsTaken)
		last, err := db.engine.take(ctx, counter, size)
		if err != nil {
			return 0, fmt.Errorf("take numbers of counter %s: %w", counter, err)
		}
		if b.last == 0 || last-size != b.last { // the first block, or another node took one in between
			b.next = last - size + 1
		}
		b.last = last
	}
	first = b.next
	b.next += int64(n)
	db.blocks[counter] = b
	return first, nil
}
