package rules

import (
	"strconv"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// span is where a value stands in the event's bytes. No value stands at 0.
type span struct{ start, end uint32 }

func (s span) ok() bool             { return s.end != 0 }
func (s span) of(raw []byte) []byte { return raw[s.start:s.end:s.end] }

// index is where the known members of an event stand. A key that is none of them to the byte is unknown.
type index struct {
	auth, content, depth, eventID, hashes, ts, prev, redacts, room, sender, signatures, stateKey, typ span
	unsigned                                                                                          span
}

// field is the place for a key, nil for an unknown one.
func (x *index) field(key []byte) *span {
	switch string(key) {
	case "auth_events":
		return &x.auth
	case "content":
		return &x.content
	case "depth":
		return &x.depth
	case "event_id":
		return &x.eventID
	case "hashes":
		return &x.hashes
	case "origin_server_ts":
		return &x.ts
	case "prev_events":
		return &x.prev
	case "redacts":
		return &x.redacts
	case "room_id":
		return &x.room
	case "sender":
		return &x.sender
	case "signatures":
		return &x.signatures
	case "state_key":
		return &x.stateKey
	case "type":
		return &x.typ
	case "unsigned":
		return &x.unsigned
	}
	return nil
}

// scan fills the index from canonical bytes.
func (x *index) scan(raw []byte) error {
	w := canonicaljson.Walk(raw)
	for w.Next() {
		if f := x.field(w.RawKey()); f != nil {
			start, end := w.Span()
			*f = span{uint32(start), uint32(end)}
		}
	}
	return w.Err()
}

// fill reads the scalars and ids of the event from its index. Members of another kind than they should
// be are left empty: the strict reader has refused them before.
func (e *Event) fill(id matrix.EventID) {
	x, raw := &e.at, e.raw
	e.id = id
	if e.version.EventIDInside && id == "" {
		e.id = text[matrix.EventID](x.eventID, raw)
	}
	e.room = text[matrix.RoomID](x.room, raw)
	e.sender = text[matrix.UserID](x.sender, raw)
	e.typ = text[string](x.typ, raw)
	e.key = text[string](x.stateKey, raw)
	e.redacts = text[matrix.EventID](x.redacts, raw)
	if e.version.RedactsInContent {
		e.redacts = ""
		if e.typ == "m.room.redaction" && x.content.ok() {
			if v, ok := canonicaljson.Field(x.content.of(raw), "redacts"); ok {
				s, _ := canonicaljson.Text(v)
				e.redacts = matrix.EventID(s)
			}
		}
	}
	e.depth = number(x.depth, raw)
	e.ts = number(x.ts, raw)
	e.prev = e.references(x.prev)
	e.auth = e.references(x.auth)
}

func text[T ~string](s span, raw []byte) T {
	if !s.ok() {
		return ""
	}
	t, _ := canonicaljson.Text(s.of(raw))
	return T(t)
}

func number(s span, raw []byte) int64 {
	if !s.ok() {
		return 0
	}
	n, _ := strconv.ParseInt(string(s.of(raw)), 10, 64)
	return n
}

func (e *Event) references(s span) []matrix.EventID {
	if !s.ok() {
		return nil
	}
	var ids []matrix.EventID
	w := canonicaljson.WalkArray(s.of(e.raw))
	for w.Next() {
		v := w.Value()
		if e.version.EventIDInside {
			pair := canonicaljson.WalkArray(v)
			if !pair.Next() {
				continue
			}
			v = pair.Value()
		}
		t, _ := canonicaljson.Text(v)
		ids = append(ids, matrix.EventID(t))
	}
	return ids
}
