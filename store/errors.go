package store

import (
	"errors"

	"github.com/lib/pq/pqerror"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrUnknownOutcome is the error of an Update whose connection broke during COMMIT: it may have happened
	// or not.
	ErrUnknownOutcome = errors.New("the connection broke during the commit")
	// ErrSchema is the error of opening a database whose schema does not fit to this program.
	ErrSchema = errors.New("the database's schema does not fit to this program")

	errClosed  = errors.New("the database is closed")
	errEnded   = errors.New("the transaction has ended")
	errReading = errors.New("a statement while rows of another are being read")
	errView    = errors.New("a write in a View")
)

// IsDuplicate says of the error of an Update that a key which it inserted was there already. It is for
// what comes after the Update, which has failed: within one, ON CONFLICT decides.
func IsDuplicate(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	}
	return sqlState(err) == pqerror.UniqueViolation
}

// isMadeByAnother says of the error of a CREATE … IF NOT EXISTS that another node made the same meanwhile.
func isMadeByAnother(err error) bool {
	switch sqlState(err) {
	case pqerror.DuplicateTable, pqerror.DuplicateObject:
		return true
	}
	return IsDuplicate(err)
}
