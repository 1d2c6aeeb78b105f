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
	kind, to, _ = RelationIn(e.Content())
	return kind, to
}

// RelationIn finds the relation in the content of an event, and what it says if it is an annotation.
func RelationIn(content []byte) (kind string, to matrix.EventID, annotation string) {
	relates, ok := canonicaljson.Field(content, "m.relates_to")
	if !ok {
		return "", "", ""
	}
	value, _ := canonicaljson.Field(relates, "rel_type")
	kind, _ = canonicaljson.Text(value)
	value, _ = canonicaljson.Field(relates, "event_id")
	about, _ := canonicaljson.Text(value)
	if kind == "" || about == "" {
		return "", "", ""
	}
	if kind == "m.annotation" {
		value, _ = canonicaljson.Field(relates, "key")
		annotation, _ = canonicaljson.Text(value)
	}
	return kind, matrix.EventID(about), annotation
}
