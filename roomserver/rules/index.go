package rules

import (
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// span is where a value stands in the event's bytes. No value stands at 0.
type span struct{ start, end uint32 }

func (s span) ok() bool             { return s.end != 0 }
func (s span) of(raw []byte) []byte { return raw[s.start:s.end:s.end] }

// member is where the member begins of which this is the value: canonical JSON has nothing between.
func (s span) member(name string) int { return int(s.start) - len(name) - 3 }

// index is where the known members of an event stand. A key that is none of them to the byte is unknown.
type index struct {
	auth, content, depth, eventID, hashes, ts, prev, redacts, room, sender, signatures, stateKey, typ span
	membership, origin, prevState, unsigned                                                           span

	old bool // it has members that the content hash leaves out besides: age_ts, outlier, destinations
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
	case "membership":
		return &x.membership
	case "origin":
		return &x.origin
	case "prev_state":
		return &x.prevState
	case "age_ts", "outlier", "destinations":
		x.old = true
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

// fill reads the scalars and ids of the event from its index. An empty id is computed, or read where the
// version has it inside. A member of another kind than it should be is left empty.
func (e *Event) fill(id matrix.EventID) {
	var textRoom [1024]byte
	var endRoom [40]int32
	p := parts{text: textRoom[:0], ends: endRoom[:0]}
	x, raw := &e.at, e.raw
	p.add(x.sender.of(raw))
	p.add(x.typ.of(raw))
	p.add(x.stateKey.of(raw))
	p.add(e.redactsValue())
	p.add(x.room.of(raw))
	p.add(x.eventID.of(raw))
	p.addReferences(e.version, x.prev.of(raw))
	prev := len(p.ends)
	p.addReferences(e.version, x.auth.of(raw))

	p.all = string(p.text)
	e.sender, e.typ, e.key = matrix.UserID(p.cut(0)), p.cut(1), p.cut(2)
	e.redacts, e.room = matrix.EventID(p.cut(3)), matrix.RoomID(p.cut(4))
	ids := make([]matrix.EventID, len(p.ends)-scalars)
	for i := range ids {
		ids[i] = matrix.EventID(p.cut(scalars + i))
	}
	e.prev, e.auth = ids[:prev-scalars:prev-scalars], ids[prev-scalars:]
	e.depth, _ = integer(x.depth.of(raw))
	e.ts, _ = integer(x.ts.of(raw))
	switch {
	case id != "":
		e.id = id
	case e.version.EventIDInside:
		e.id = matrix.EventID(p.cut(5))
	default:
		e.id = hashID(e.version, e.ReferenceHash())
	}
	if e.version.RoomIDIsHash && e.isCreate() {
		e.room = matrix.RoomID("!" + e.id[1:])
	}
}

// scalars is how many texts fill reads before the references.
const scalars = 6

// parts gathers the texts of an event into one string.
type parts struct {
	text []byte
	ends []int32
	all  string
}

func (p *parts) add(value []byte) {
	p.text = canonicaljson.AppendUnquoted(p.text, value)
	p.ends = append(p.ends, int32(len(p.text)))
}

func (p *parts) cut(i int) string {
	from := int32(0)
	if i > 0 {
		from = p.ends[i-1]
	}
	return p.all[from:p.ends[i]]
}

func (p *parts) addReferences(v *Version, list []byte) {
	if len(list) == 0 {
		return
	}
	w := canonicaljson.WalkArray(list)
	for w.Next() {
		id := w.Value()
		if v.EventIDInside {
			pair := canonicaljson.WalkArray(id)
			if !pair.Next() {
				continue
			}
			id = pair.Value()
		}
		p.add(id)
	}
}

// redactsValue is the value that names what a redaction is about, nil in other events.
func (e *Event) redactsValue() []byte {
	if string(e.at.typ.of(e.raw)) != `"m.room.redaction"` {
		return nil
	}
	if !e.version.RedactsInContent {
		return e.at.redacts.of(e.raw)
	}
	value, _ := canonicaljson.Field(e.at.content.of(e.raw), "redacts")
	return value
}

// integer reads the integer that the value is.
func integer(value []byte) (n int64, ok bool) {
	digits := value
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(value) {
		n = -n
	}
	return n, true
}
