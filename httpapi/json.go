package httpapi

import (
	"errors"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// checkJSON refuses bodies that two readers could read differently: bytes that are not UTF-8, a key
// twice, half a surrogate pair, nesting without end. Numbers may be floats: account data and tags have
// them; what may stand in events is checked where events are made.
func checkJSON(body []byte) error {
	err := canonicaljson.Check(body, canonicaljson.Loose)
	if syntax := (*canonicaljson.SyntaxError)(nil); errors.As(err, &syntax) {
		return matrix.E(matrix.CodeNotJSON, "the body is not valid JSON: %s at byte %d", syntax.Why, syntax.Offset)
	}
	return err
}
