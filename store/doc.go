// Package store is the one way to the database: one schema and one set of queries over two engines,
// an embedded SQLite file and PostgreSQL. No other package knows which one runs.
//
// Invariants:
//   - what Update's function did is there whole or not at all. When Update returned nil it is durable;
//     when it returned an error nothing happened, with one exception: a connection that broke during
//     COMMIT leaves it open (ErrUnknownOutcome), and then the function is not run again;
//   - the function may run several times, so it has no effect but through its Tx. It may run while other
//     functions' writes share its SQLite transaction: it sees them, and if they fail it is run again;
//   - a statement that failed ends its transaction: later statements fail with the same error, and so
//     does Update, on either engine;
//   - what a Tx announced is published after the commit, and only then;
//   - View reads one moment;
//   - positions of the stream are dense and in the order of commits: who sees position p sees everything
//     that was written with a position below p;
//   - while rows are being read (Each, Select) no other statement runs on that Tx.
//
// # The dialect
//
// SQL is written once, with placeholders $1, $2 … and these macros:
//
//	{INT8} {TEXT} {BYTES}   column and CAST types
//	{IN $1 INT8}            membership in a List of INT8, TEXT or BYTES: WHERE nid {IN $1 INT8}
//	{FOR UPDATE}            locks the rows read; nothing on SQLite, which has one writer
//	{SKIP LOCKED}           the same, passing over rows that others have locked
//	{NOW}                   the database's clock, in milliseconds
//	{CLUSTERED}             after CREATE TABLE (…): rows live in the primary key (SQLite: WITHOUT ROWID).
//	                        For narrow rows; not for those with large bytes
//
// SQLite tables are made STRICT, so that a wrong type is refused there as PostgreSQL refuses it. Give
// strings to TEXT columns and []byte to BYTES columns. A nil []byte is stored as an empty one; NULL is an
// untyped nil or a nil pointer.
package store
