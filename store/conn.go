package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// statementsMost bounds the prepared statements of one connection. There are as many as query texts in
// the program, which are constants, so the bound is for mistakes.
const statementsMost = 2000

// conn is one connection to the database: the bare driver's, with its statements prepared once.
// It is used by one goroutine at a time.
type conn struct {
	raw     driver.Conn
	dialect *dialect
	encode  func(list) (driver.Value, error)
	stmts   map[string]*statement
	args    []driver.NamedValue // reused from statement to statement
	placed  []driver.NamedValue // the same, in the order of placeholders
	shared  bool                // the driver's []byte are its buffers: copied when scanned
	broken  bool                // not to be used again
}

// statement is prepared on one connection.
type statement struct {
	raw   driver.Stmt
	wants int   // arguments; -1: the driver says
	order []int // of the arguments, where placeholders are positional
	rows  row   // reused from reading to reading
}

func newConn(raw driver.Conn, d *dialect, encode func(list) (driver.Value, error)) *conn {
	return &conn{raw: raw, dialect: d, encode: encode, stmts: make(map[string]*statement)}
}

func (c *conn) close() error { return c.raw.Close() }

// prepare gives the prepared form of a query. No rows may be open.
func (c *conn) prepare(query string) (*statement, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	text, order, err := c.dialect.rewrite(query)
	if err != nil {
		return nil, err
	}
	if len(c.stmts) >= statementsMost {
		for q, s := range c.stmts {
			delete(c.stmts, q)
			s.raw.Close()
		}
	}
	raw, err := c.raw.Prepare(text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	s := &statement{raw: raw, wants: -1, order: order}
	if c.dialect.positional {
		s.wants = 0
		for _, n := range order {
			s.wants = max(s.wants, n+1)
		}
	}
	c.stmts[query] = s
	return s, nil
}

// bind turns the caller's arguments into the driver's. The result is valid until the next bind.
func (c *conn) bind(s *statement, args []any) ([]driver.NamedValue, error) {
	if s.wants >= 0 && s.wants != len(args) {
		return nil, fmt.Errorf("the query takes %d arguments, but there are %d", s.wants, len(args))
	}
	c.args = c.args[:0]
	for i, a := range args {
		v, err := c.value(a)
		if err != nil {
			return nil, fmt.Errorf("argument $%d: %w", i+1, err)
		}
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	if s.order == nil {
		return c.args, nil
	}
	c.placed = c.placed[:0]
	for i, n := range s.order {
		c.placed = append(c.placed, driver.NamedValue{Ordinal: i + 1, Value: c.args[n].Value})
	}
	return c.placed, nil
}

// exec runs a statement that gives no rows.
func (c *conn) exec(ctx context.Context, query string, args []any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	bound, err := c.bind(s, args)
	if err != nil {
		return 0, err
	}
	res, err := s.raw.(driver.StmtExecContext).ExecContext(ctx, bound)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, nil // a statement that has no count, such as CREATE
	}
	return n, nil
}

// each runs a statement and calls fn for its rows.
func (c *conn) each(ctx context.Context, fn func(Row) error, query string, args []any) (err error) {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	bound, err := c.bind(s, args)
	if err != nil {
		return err
	}
	rows, err := s.raw.(driver.StmtQueryContext).QueryContext(ctx, bound)
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil && e != nil {
			err = e
		}
	}()
	if s.rows.values == nil {
		s.rows = row{values: make([]driver.Value, len(rows.Columns())), shared: c.shared}
	}
	for {
		switch err := rows.Next(s.rows.values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := fn(&s.rows); err != nil {
			return err
		}
	}
}

// script runs one statement that is not worth preparing.
func (c *conn) script(ctx context.Context, text string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(ctx, text, nil)
	return err
}
