package httpapi

import (
	"encoding/json"
	"unicode/utf8"

	"astrocyte/matrix"
)

// checkJSON refuses bodies that are not JSON in UTF-8.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) || !json.Valid(body) {
		return matrix.E(matrix.CodeNotJSON, "the body is not valid JSON")
	}
	return nil
}
