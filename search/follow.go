package search

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// textOf is what of an event can be searched for, and which member of its content it is.
func textOf(e *rules.Event) (string, kind) {
	var content struct {
		Body  string `json:"body"`
		Name  string `json:"name"`
		Topic string `json:"topic"`
		New   *struct {
			Body string `json:"body"`
		} `json:"m.new_content"`
	}
	_, isState := e.StateKey()
	switch tp := e.Type(); {
	case tp != "m.room.message" && tp != "m.room.name" && tp != "m.room.topic", isState != (tp != "m.room.message"):
		return "", 0
	case json.Unmarshal(e.Content(), &content) != nil:
		return "", 0
	case tp == "m.room.name":
		return content.Name, kindName
	case tp == "m.room.topic":
		return content.Topic, kindTopic
	}
	if relation, _ := e.Relation(); relation == "m.replace" && content.New != nil {
		return content.New.Body, kindBody
	}
	return content.Body, kindBody
}

// termsMost bounds the terms of one document.
const termsMost = 4000

// docOf is an event as the index has it; false: there is nothing in it to search for.
func docOf(e *roomserver.Event) (doc, bool) {
	text, k := textOf(e.Event)
	terms := termsOf(runsOf(text))
	if len(terms) == 0 {
		return doc{}, false
	}
	terms = append(terms[:min(len(terms), termsMost)], roomTerm(e.Room), senderTerm(string(e.Sender())), k.term())
	return doc{docID(e.OriginServerTS(), e.NID, time.Now()), terms}, true
}

// batch is what some events mean for the index.
type batch struct {
	docs    []eventDoc
	gone    []int64                     // nids of events that redactions name
	members map[member]bool             // whose membership changed
	rooms   map[roomserver.RoomNID]bool // whether somebody new may see them
}

// eventDoc is a document of an event.
type eventDoc struct {
	doc
	room roomserver.RoomNID
	nid  int64
}

type member struct {
	room roomserver.RoomNID
	user matrix.UserID
}

// take brings what has passed into the index.
func (s *Search) take(ctx context.Context, passed []roomserver.Passed) (func(tx *store.Tx) error, error) {
	b, err := s.gather(ctx, passed)
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		if _, err := lockRebuild(tx); err != nil {
			return err
		}
		return s.write(tx, b)
	}, nil
}

// gather reads events and finds what they mean.
func (s *Search) gather(ctx context.Context, passed []roomserver.Passed) (b *batch, err error) {
	var fresh []roomserver.RoomNID
	err = s.db.View(ctx, func(tx *store.Tx) error {
		b = &batch{members: make(map[member]bool), rooms: make(map[roomserver.RoomNID]bool)}
		for _, p := range passed {
			if p.Event == nil {
				continue
			}
			if err := s.note(tx, b, p.Room, p.Event); err != nil {
				return err
			}
		}
		fresh, err = s.unmet(tx, passed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what has passed: %w", err)
	}
	for _, room := range fresh {
		if err := s.meet(ctx, room); err != nil {
			return nil, fmt.Errorf("read the members of a room: %w", err)
		}
	}
	return b, nil
}

// note adds what one event means.
func (s *Search) note(tx *store.Tx, b *batch, room roomserver.RoomNID, e *roomserver.Event) error {
	switch e.Type() {
	case "m.room.redaction":
		it, ok, err := s.rooms.Place(tx, room, e.Redacts())
		if err == nil && ok {
			b.gone = append(b.gone, it.NID)
		}
		return err
	case "m.room.member":
		if user, ok := e.StateKey(); ok {
			b.members[member{room, matrix.UserID(user)}] = true
		}
	case "m.room.join_rules", "m.room.history_visibility":
		b.rooms[room] = true
	default:
		if d, ok := docOf(e); ok && e.RedactedBy == 0 {
			b.docs = append(b.docs, eventDoc{d, room, e.NID})
		}
	}
	return nil
}

// write changes the index. The row of search_rebuild is locked. All of it can be done again.
func (s *Search) write(tx *store.Tx, b *batch) error {
	if err := s.removeRedacted(tx, b.gone); err != nil {
		return fmt.Errorf("remove redacted events: %w", err)
	}
	if err := s.addDocs(tx, b.docs); err != nil {
		return fmt.Errorf("add events: %w", err)
	}
	for m := range b.members {
		if err := s.refreshMember(tx, m); err != nil {
			return fmt.Errorf("note the name of %s: %w", m.user, err)
		}
	}
	for room := range b.rooms {
		if err := s.refreshRoom(tx, room); err != nil {
			return fmt.Errorf("note who may see room %d: %w", room, err)
		}
	}
	return nil
}

// removeRedacted takes those of the events out of the index that are redacted.
func (s *Search) removeRedacted(tx *store.Tx, nids []int64) error {
	if len(nids) == 0 {
		return nil
	}
	events, err := s.rooms.Events(tx, nids)
	if err != nil {
		return err
	}
	var gone []int64
	for nid, e := range events {
		if e.RedactedBy != 0 {
			gone = append(gone, nid)
		}
	}
	return s.removeDocs(tx, gone)
}

func (s *Search) removeDocs(tx *store.Tx, nids []int64) error {
	if len(nids) == 0 {
		return nil
	}
	ids, err := deleteDocs(tx, nids)
	if err != nil || len(ids) == 0 {
		return err
	}
	return s.texts.drop(tx, ids)
}

// addDocs adds documents that are not there, but not those of events that have been redacted or purged since they
// were read: their redaction may have passed already.
func (s *Search) addDocs(tx *store.Tx, docs []eventDoc) error {
	if len(docs) == 0 {
		return nil
	}
	nids, ids := make([]int64, len(docs)), make([]int64, len(docs))
	for i, d := range docs {
		nids[i], ids[i] = d.nid, d.id
	}
	there, err := presentDocs(tx, nids)
	if err != nil {
		return err
	}
	whole, err := s.rooms.Whole(tx, nids)
	if err != nil {
		return err
	}
	taken, err := takenIDs(tx, ids)
	if err != nil {
		return err
	}
	var add []eventDoc
	for _, d := range docs {
		if !whole[d.nid] || there[d.nid] {
			continue
		}
		for taken[d.id] {
			d.id++
			if next, err := takenIDs(tx, []int64{d.id}); err != nil {
				return err
			} else if next[d.id] {
				taken[d.id] = true
			}
		}
		taken[d.id], there[d.nid] = true, true
		add = append(add, d)
	}
	if err := insertDocs(tx, add); err != nil {
		return err
	}
	plain := make([]doc, len(add))
	for i, d := range add {
		plain[i] = d.doc
	}
	return s.texts.put(tx, plain)
}
