package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// bulkMost bounds the rows of one statement, and with it the memory for them.
const bulkMost = 8192

// Bulk is an insert of many rows.
//
// No two rows of one Bulk may meet the same key in an ON CONFLICT … DO UPDATE: PostgreSQL refuses to
// change a row twice in one statement.
type Bulk struct {
	Table   string
	Columns []string
	Rows    [][]any
	// OnConflict is what follows the rows: ON CONFLICT …, or nothing.
	OnConflict string
}

// Bulk inserts rows, on PostgreSQL in one statement, and tells how many were inserted or changed.
func (tx *Tx) Bulk(b Bulk) (rows int64, err error) {
	for _, r := range b.Rows {
		if len(r) != len(b.Columns) {
			return 0, fmt.Errorf("insert into %s: a row has %d values for %d columns", b.Table, len(r), len(b.Columns))
		}
	}
	if len(b.Rows) == 0 {
		return 0, nil
	}
	if tx.c != nil && tx.c.dialect == &postgresDialect {
		return tx.bulkArrays(b)
	}
	return tx.bulkLoop(b)
}

// bulkLoop inserts row by row with one prepared statement, which is the fastest way in process.
func (tx *Tx) bulkLoop(b Bulk) (rows int64, err error) {
	var q strings.Builder
	q.WriteString("INSERT INTO " + b.Table + " (" + strings.Join(b.Columns, ", ") + ") VALUES (")
	for i := range b.Columns {
		if i > 0 {
			q.WriteString(", ")
		}
		q.WriteString("$" + strconv.Itoa(i+1))
	}
	q.WriteString(") " + b.OnConflict)
	query := q.String()
	for _, r := range b.Rows {
		n, err := tx.Exec(query, r...)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

// bulkArrays inserts all rows with one statement, to which each column is one array.
func (tx *Tx) bulkArrays(b Bulk) (rows int64, err error) {
	for len(b.Rows) > 0 {
		part := b
		part.Rows = b.Rows[:min(len(b.Rows), bulkMost)]
		b.Rows = b.Rows[len(part.Rows):]
		query, args, err := tx.unnest(part)
		if err != nil {
			return 0, fmt.Errorf("insert into %s: %w", b.Table, err)
		}
		n, err := tx.Exec(query, args...)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

// unnest makes the statement and its arrays. A column without any value is a bare NULL, which takes the
// type that the column has.
func (tx *Tx) unnest(b Bulk) (query string, args []any, err error) {
	values := make([][]driver.Value, len(b.Rows))
	cells := make([]driver.Value, len(b.Rows)*len(b.Columns))
	for i, r := range b.Rows {
		values[i], cells = cells[:len(r):len(r)], cells[len(r):]
		for j, v := range r {
			if values[i][j], err = tx.c.value(v); err != nil {
				return "", nil, fmt.Errorf("row %d, %s: %w", i, b.Columns[j], err)
			}
		}
	}
	var from, arrays, names strings.Builder
	for j, column := range b.Columns {
		encoded, sqlType, err := encodeColumn(values, j)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", column, err)
		}
		if j > 0 {
			from.WriteString(", ")
		}
		if sqlType == "" {
			from.WriteString("NULL")
			continue
		}
		if len(args) > 0 {
			arrays.WriteString(", ")
			names.WriteString(", ")
		}
		args = append(args, encoded)
		n := strconv.Itoa(len(args))
		from.WriteString("u.c" + n)
		arrays.WriteString("CAST($" + n + " AS " + sqlType + "[])")
		names.WriteString("c" + n)
	}
	if len(args) == 0 {
		return "", nil, errors.New("no row has a value")
	}
	return "INSERT INTO " + b.Table + " (" + strings.Join(b.Columns, ", ") + ") SELECT " + from.String() +
		" FROM unnest(" + arrays.String() + ") AS u (" + names.String() + ") " + b.OnConflict, args, nil
}
