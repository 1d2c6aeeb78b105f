// Package canonicaljson reads JSON strictly and writes it canonically: what every hash and every
// signature of the protocol is taken over.
//
// Invariants:
//   - What Canonical accepts it writes in exactly one form: shortest escapes, members sorted by the
//     code points of their unescaped keys, no space. Canonical of canonical bytes gives the same bytes.
//   - Accepted from nobody, in either mode: invalid UTF-8, lone surrogates, the same key twice in one
//     object (also where the two are escaped differently), more than MaxDepth nested containers,
//     NaN and infinities, anything after the value.
//   - Keys are compared byte by byte. Nothing here matches a key in another case.
//   - No maps, no reflection: objects are walked in bytes.
//
// Spec: Appendices "Canonical JSON", "Signing JSON".
package canonicaljson

import "fmt"

// Mode chooses how numbers are taken.
type Mode int

const (
	// Strict takes integers from -(2^53-1) to 2^53-1 only. It is the mode of room version 6 and later,
	// and of everything that is not an event of a room.
	Strict Mode = iota
	// Loose takes integers of any size as they are, and floats, written with the fewest digits that
	// read back as the same number. It is the mode of room versions 1 to 5.
	Loose
)

// MaxDepth bounds how many containers may be nested, the outermost counted.
const MaxDepth = 127

// MaxInt is the largest integer of canonical JSON, and -MaxInt the smallest.
const MaxInt = 1<<53 - 1

// SyntaxError says why bytes are refused, and where.
type SyntaxError struct {
	Offset int
	Why    string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("bad JSON at byte %d: %s", e.Offset, e.Why)
}
