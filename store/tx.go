package store

import (
	"context"
	"errors"
	"fmt"

	"astrocyte/bus"
)

// Tx is one transaction. It belongs to the function that got it, and ends with it.
type Tx struct {
	ctx      context.Context
	c        *conn
	err      error // of the statement that failed first: the transaction is lost
	reading  bool
	readonly bool
	late     *late // nil: the transaction began with its function
	taken    int64 // the newest position that it took
	changes  []bus.Change
	after    []func()
}

// Announce collects changes that are published once the transaction is committed.
func (tx *Tx) Announce(c ...bus.Change) { tx.changes = append(tx.changes, c...) }

// AfterCommit collects a function that runs once the transaction is committed, before Update returns,
// and not at all otherwise. It runs on the goroutine of Update's caller, outside of the transaction. In
// a View, whose reader sees nothing but what is committed, it runs at once.
func (tx *Tx) AfterCommit(fn func()) {
	if tx.readonly {
		fn()
		return
	}
	tx.after = append(tx.after, fn)
}

// Exec runs a statement that gives no rows, and tells how many it changed.
func (tx *Tx) Exec(query string, args ...any) (rows int64, err error) {
	if tx.readonly {
		return 0, errView
	}
	if err := tx.ready(); err != nil {
		return 0, err
	}
	rows, err = tx.c.exec(context.Background(), query, args)
	return rows, tx.failed(err, query)
}

// Each calls fn for every row of the answer. fn runs no statement on the same Tx.
func Each(tx *Tx, fn func(Row) error, query string, args ...any) error {
	if err := tx.ready(); err != nil {
		return err
	}
	tx.reading = true
	defer func() { tx.reading = false }()
	var own error // what fn itself refused is not the database's failure
	err := tx.c.each(context.Background(), func(r Row) error {
		if own = fn(r); own == nil {
			own = tx.ctx.Err()
		}
		return own
	}, query, args)
	if own != nil && errors.Is(err, own) {
		return err
	}
	return tx.failed(err, query)
}

// Select gives what scan makes of the rows of the answer.
func Select[T any](tx *Tx, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	var all []T
	err := Each(tx, func(r Row) error {
		one, err := scan(r)
		if err == nil {
			all = append(all, one)
		}
		return err
	}, query, args...)
	return all, err
}

// One gives what scan makes of the first row of the answer, and false if there is no row.
func One[T any](tx *Tx, scan func(Row) (T, error), query string, args ...any) (one T, found bool, err error) {
	err = Each(tx, func(r Row) (err error) {
		if found {
			return nil
		}
		found = true
		one, err = scan(r)
		return err
	}, query, args...)
	return one, found && err == nil, err
}

// ready says why no statement can run now.
func (tx *Tx) ready() error {
	switch {
	case tx.c == nil && tx.late == nil:
		return errEnded
	case tx.reading:
		return errReading
	case tx.err != nil:
		return tx.err
	}
	if err := tx.ctx.Err(); err != nil {
		tx.err = err
	} else if tx.c == nil {
		tx.err = tx.begin()
	}
	return tx.err
}

// failed notes the failure of a statement, which ends the transaction.
func (tx *Tx) failed(err error, query string) error {
	if err == nil {
		return nil
	}
	tx.err = fmt.Errorf("%s: %w", brief(query), err)
	return tx.err
}

// run calls the function of an Update or View. A failed statement fails the transaction, even when
// fn says nothing of it.
func (tx *Tx) run(c *conn, fn func(tx *Tx) error) (err error) {
	tx.c = c
	defer func() { tx.c = nil }()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.err
}

// brief is the beginning of a query on one line, for errors.
func brief(query string) string {
	const most = 60
	out := make([]byte, 0, most)
	space := true
	for i := 0; i < len(query) && len(out) < most; i++ {
		c := query[i]
		if c == ' ' || c == '\t' || c == '\n' {
			if !space {
				out = append(out, ' ')
			}
			space = true
			continue
		}
		space = false
		out = append(out, c)
	}
	return string(out)
}
