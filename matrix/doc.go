// Package matrix holds the words of the Matrix protocol as types: identifiers, error codes and the
// contents of events that the server itself reads or writes. It does nothing and imports nothing of
// the project, so that every other package can speak the same language.
//
// Invariants:
//   - an identifier made by a Parse function is valid; one converted from a string by hand is not checked;
//   - an *Error is always the caller's fault, and its text may be shown to them.
package matrix
