package httpapi

import (
	"errors"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// checkJSON refuses bodies that two readers could read differently: bytes that are not UTF-8, a key
// twice, half a surrogate pair, nesting without end, a number that is infinite to those who read floats.
// Numbers may be floats: account data and tags have them; what may stand in events is checked where events
// are made.
func checkJSON(body []byte) error {
	err := canonicaljson.Check(body, canonicaljson.Loose)
	if syntax := (*canonicaljson.SyntaxError)(nil); errors.As(err, &syntax) {
		return matrix.E(matrix.CodeNotJSON, "the body is not valid JSON: %s at byte %d", syntax.Why, syntax.Offset)
	}
	if err == nil && hasHugeInteger(body) {
		return matrix.E(matrix.CodeNotJSON, "the body has a number with more than %d digits", digitsMost)
	}
	return err
}

// digitsMost is how many digits an integer has at most that a float can hold.
const digitsMost = 308

// hasHugeInteger looks for an integer that is too large for a float, in a body that is valid JSON.
func hasHugeInteger(body []byte) bool {
	digits, text := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '"':
			text = !text
		case c == '\\':
			i++ // within a text: what follows does not end it
		case text:
		case c >= '0' && c <= '9':
			if digits++; digits > digitsMost {
				return true
			}
			continue
		}
		digits = 0
	}
	return false
}
