package rules

import (
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Relation is what an event is to another one: m.thread, m.annotation, m.replace, … Both are empty where
// it is nothing.
//
// Spec: CS "Forming relationships between events".
func (e *Event) Relation() (kind string, to matrix.EventID) {
	relates, ok := canonicaljson.Field(e.Content(), "m.relates_to")
	if !ok {
		return "", ""
	}
	value, _ := canonicaljson.Field(relates, "rel_type")
	kind, _ = canonicaljson.Text(value)
	value, _ = canonicaljson.Field(relates, "event_id")
	about, _ := canonicaljson.Text(value)
	if kind == "" || about == "" {
		return "", ""
	}
	return kind, matrix.EventID(about)
}
