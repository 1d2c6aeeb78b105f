package ephemeral

import (
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
)

// receiptOf is a receipt as clients see it.
type receiptOf struct {
	TS     int64  `json:"ts"`
	Thread string `json:"thread_id,omitempty"`
}

// receiptContent is the content of an m.receipt event: by event, type and user.
type receiptContent map[matrix.EventID]map[string]map[matrix.UserID]receiptOf

// Contents writes receipts of one room as contents of m.receipt events. Mostly that is one; where a user
// has receipts of several threads at the same event, the form has room for one of them an event. A receipt
// of the whole room says all that those of threads at the same event do.
//
// Spec: CS m.receipt; MSC4102.
func Contents(receipts []Receipt) ([]json.RawMessage, error) {
	var contents []receiptContent
	for _, r := range receipts {
		i := 0
		for i < len(contents) && !contents[i].add(r) {
			i++
		}
		if i == len(contents) {
			contents = append(contents, receiptContent{})
			contents[i].add(r)
		}
	}
	out := make([]json.RawMessage, len(contents))
	for i, c := range contents {
		var err error
		if out[i], err = json.Marshal(c); err != nil {
			return nil, fmt.Errorf("write receipts: %w", err)
		}
	}
	return out, nil
}

// add puts a receipt in. It gives false where its place is taken by one that is as good.
func (c receiptContent) add(r Receipt) bool {
	kind := Read
	if r.Private {
		kind = ReadPrivate
	}
	if c[r.Event] == nil {
		c[r.Event] = make(map[string]map[matrix.UserID]receiptOf, 1)
	}
	users := c[r.Event][kind]
	if users == nil {
		users = make(map[matrix.UserID]receiptOf, 1)
		c[r.Event][kind] = users
	}
	if old, taken := users[r.User]; taken && r.Thread != "" {
		return old.Thread == ""
	}
	users[r.User] = receiptOf{r.TS, r.Thread}
	return true
}
