package rules

import "astrocyte/matrix"

// The limits of an event. Spec: CS "Size limits", SS "PDUs".
const (
	maxEvent = 65536 // bytes, canonical, with signatures
	maxPrev  = 20
	maxAuth  = 10
	maxText  = matrix.MaxIDLength // bytes of ids, type and state key

	// maxForeign bounds the bytes that are looked at to read one event: all its text may be escaped,
	// which is six bytes for one.
	maxForeign = 6*maxEvent + 65536
)

// emptyUnsigned is what servers add to an event before they measure it.
const emptyUnsigned = `"unsigned":{},`
