package roomserver

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
)

// The kinds of relations that this server knows by name.
//
// Spec: CS "Relationship types".
const (
	relThread     = "m.thread"
	relReplace    = "m.replace"
	relReference  = "m.reference"
	relAnnotation = "m.annotation"
)

// relation is what one event says about another one.
type relation struct {
	kind       string
	target     matrix.EventID
	annotation string
}

// relationIn finds a relation that can be looked up; false where the content has none.
func relationIn(content []byte) (relation, bool) {
	kind, target, annotation := rules.RelationIn(content)
	rel := relation{kind, target, shortAnnotation(annotation)}
	return rel, storable(kind) && storable(string(target))
}

// storable says whether a text may stand in a key of the database.
func storable(s string) bool {
	return s != "" && len(s) <= matrix.MaxIDLength && strings.IndexByte(s, 0) < 0
}

// shortAnnotation is an annotation as it is compared with others.
func shortAnnotation(s string) string {
	if s == "" || storable(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256 " + canonicaljson.Base64(sum[:])
}

// bundled says whether events are told of their relations of a kind.
func bundled(kind string) bool {
	return kind == relThread || kind == relReplace || kind == relReference
}

// writeRelations notes which of the staged events are about others. An event that came from another
// server may come after those that are about it.
func (b *batch) writeRelations() error {
	var rows [][]any
	var about []int64
	targets := make(map[matrix.EventID]RoomNID)
	for _, s := range slices.Concat(b.staged, b.past) {
		if s.draft == nil {
			about = append(about, s.NID)
		}
		rel, ok := relationIn(s.Content())
		if !ok || !storable(s.Type()) || s.RedactedBy != 0 {
			continue
		}
		if bundled(rel.kind) {
			targets[rel.target] = s.Room
		}
		rows = append(rows, []any{
			s.Room.Shard(), int64(s.Room), string(rel.target), rel.kind, s.seq, s.NID, string(s.ID()),
			s.Type(), string(s.Sender()), s.OriginServerTS(), rel.annotation,
		})
	}
	if err := insertRelations(b.tx, rows); err != nil {
		return err
	}
	if err := markRelated(b.tx, about, targets); err != nil {
		return fmt.Errorf("mark what events are about: %w", err)
	}
	return nil
}

// dropRelation undoes what a redacted event said about another one.
func (b *batch) dropRelation(e *Event) error {
	if rel, ok := relationIn(e.Content()); ok {
		return deleteRelation(b.tx, e, rel)
	}
	return nil
}

// sensibleRelation refuses relations that make no sense: the same annotation twice, and a thread that
// begins at an event which is itself about another one.
//
// Spec: CS "Annotations", "Threading".
func (b *batch) sensibleRelation(h *head, d *Draft) error {
	rel, ok := relationIn(d.Content)
	switch {
	case !ok:
		return nil
	case rel.kind == relThread:
		return b.sensibleThread(h, rel)
	case rel.kind == relAnnotation && rel.annotation != "":
		return b.sensibleAnnotation(h, d, rel)
	}
	return nil
}

func (b *batch) sensibleThread(h *head, rel relation) error {
	root, err := b.eventByID(h.nid, rel.target)
	if err != nil {
		return fmt.Errorf("find the root of a thread: %w", err)
	}
	if root == nil || root.RedactedBy != 0 {
		return nil
	}
	if kind, _ := root.Relation(); kind != "" {
		return matrix.E(matrix.CodeUnknown, "a thread cannot begin at an event that has a relation itself").WithStatus(400)
	}
	return nil
}

func (b *batch) sensibleAnnotation(h *head, d *Draft, rel relation) error {
	repeated := matrix.E(matrix.CodeDuplicateAnnotation, "you have made this annotation already")
	for _, s := range b.staged {
		if s.Room != h.nid || s.Sender() != d.Sender || s.Type() != d.Type || b.redacts(s.NID) {
			continue
		}
		if other, ok := relationIn(s.Content()); ok && other == rel {
			return repeated
		}
	}
	nids, err := annotationsOf(b.tx, h.nid, d, rel)
	if err != nil {
		return fmt.Errorf("look for the same annotation: %w", err)
	}
	if slices.ContainsFunc(nids, func(nid int64) bool { return !b.redacts(nid) }) {
		return repeated
	}
	return nil
}

// redacts says whether the batch redacts an event.
func (b *batch) redacts(nid int64) bool {
	return slices.ContainsFunc(b.redact, func(r redaction) bool { return r.target == nid })
}
