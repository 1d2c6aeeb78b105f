package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

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

func (tx *Tx) bulkArrays(Bulk) (int64, error) { return 0, errors.New("not yet") }
