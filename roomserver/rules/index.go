package rules

import (
	"errors"

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
	membership, origin, prevState, unsigned, sticky                                                   span

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
	case StickyKey:
		return &x.sticky
	case "prev_state":
		return &x.prevState
	case "age_ts", "outlier", "destinations":
		x.old = true
	}
	return nil
}

// scan fills the index from canonical bytes. It walks by hand, because nothing is done more often.
func (x *index) scan(raw []byte) error {
	if len(raw) < 2 || raw[0] != '{' {
		return errNotObject
	}
	var last []byte
	for i := 1; i < len(raw) && raw[i] == '"'; i++ { // over the comma
		colon := canonicaljson.Skip(raw, i)
		end := canonicaljson.Skip(raw, colon+1)
		if end <= colon+1 || end >= len(raw) {
			return errNotObject
		}
		key := raw[i+1 : colon-1]
		if f := x.field(key); f != nil {
			if string(key) <= string(last) { // all that is cut out of the bytes counts on their order
				return errNotObject
			}
			*f, last = span{uint32(colon + 1), uint32(end)}, key
		}
		i = end
	}
	return nil
}

// errNotObject is given for bytes that are no canonical object.
var errNotObject = errors.New("not a canonical object")

// fill reads the scalars and ids of the event from its index. An empty id is computed, or read where the
// version has it inside. A member of another kind than it should be is left empty.
func (e *Event) fill(id matrix.EventID) {
	var textRoom [1024]byte
	var endRoom [40]int32
	x, raw := &e.at, e.raw
	text, ends := textRoom[:0], endRoom[:0]
	for _, value := range [scalars][]byte{
		x.sender.of(raw), x.typ.of(raw), x.stateKey.of(raw), e.redactsValue(), x.room.of(raw), x.eventID.of(raw),
	} {
		text = canonicaljson.AppendUnquoted(text, value)
		ends = append(ends, int32(len(text)))
	}
	text, ends = e.appendReferences(text, ends, x.prev)
	prev := len(ends) - scalars
	text, ends = e.appendReferences(text, ends, x.auth)

	all, from := string(text), int32(0)
	next := func() string {
		part := all[from:ends[0]]
		from, ends = ends[0], ends[1:]
		return part
	}
	e.sender, e.typ, e.key = matrix.UserID(next()), next(), next()
	e.redacts, e.room, e.id = matrix.EventID(next()), matrix.RoomID(next()), matrix.EventID(next())
	ids := make([]matrix.EventID, len(ends))
	for i := range ids {
		ids[i] = matrix.EventID(next())
	}
	e.prev, e.auth = ids[:prev:prev], ids[prev:]
	e.depth, _ = integer(x.depth.of(raw))
	e.ts, _ = integer(x.ts.of(raw))
	e.sticky = stickyOf(x.sticky.of(raw))
	e.name(id)
}

// scalars is how many texts fill reads before the references.
const scalars = 6

// name gives the event its id, and the create event its room, where these are hashes.
func (e *Event) name(id matrix.EventID) {
	switch {
	case id != "":
		e.id = id
	case !e.version.EventIDInside:
		e.id = hashID(e.version, e.ReferenceHash())
	}
	if e.version.RoomIDIsHash && e.isCreate() {
		e.room = matrix.RoomID("!" + e.id[1:])
	}
}

// appendReferences appends the ids of prev_events or auth_events, and where each ends. It walks the
// canonical bytes by hand: an id is an element, or in versions 1 and 2 the first of a pair that is one.
func (e *Event) appendReferences(text []byte, ends []int32, at span) ([]byte, []int32) {
	list := at.of(e.raw)
	for i := 1; i < len(list) && list[i] != ']'; i++ { // over the comma
		end := canonicaljson.Skip(list, i)
		if end == i {
			break
		}
		id := list[i:end]
		if e.version.EventIDInside && id[0] == '[' {
			id = id[1:canonicaljson.Skip(id, 1)]
		}
		text = canonicaljson.AppendUnquoted(text, id)
		ends = append(ends, int32(len(text)))
		i = end
	}
	return text, ends
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
