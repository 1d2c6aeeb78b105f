package rules

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Proto is an event of this server that has no hashes yet.
type Proto struct {
	RoomID         matrix.RoomID // empty for a create event of a version whose room ids are hashes
	Sender         matrix.UserID
	Type           string
	StateKey       *string // nil: not a state event
	Content        json.RawMessage
	Redacts        matrix.EventID // of m.room.redaction; written where the version has it
	Prev, Auth     []EventRef     // hashes are needed in room versions 1 and 2 only
	Depth          int64
	OriginServerTS int64          // milliseconds
	EventID        matrix.EventID // in room versions 1 and 2 only
	Sticky         int64          // milliseconds; 0: it is not
}

// signatureRoom is how many bytes a signature of this server may add to an event.
const signatureRoom = 512

// Build makes the event with its content hash and its id, which do not depend on signatures. A fault of
// the content, or of what else a client chose, is a *matrix.Error.
//
// Spec: SS "PDUs", Room Versions "Event format".
func Build(v *Version, p *Proto) (*Event, error) {
	content, err := p.content(v)
	if err != nil {
		return nil, err
	}
	if err := p.check(v); err != nil {
		return nil, err
	}
	e := &Event{version: v}
	w := writer{raw: make([]byte, 0, len(content)+len(p.Type)+640+110*(len(p.Prev)+len(p.Auth)))}
	claim := w.event(&e.at, v, p, content)
	e.raw = w.raw
	hash := e.contentHash()
	base64.RawStdEncoding.Encode(e.raw[claim:claim+hashRoom], hash[:])
	if len(e.raw)+len(emptyUnsigned)+signatureRoom > maxEvent {
		return nil, matrix.E(matrix.CodeTooLarge, "the event is larger than %d bytes", maxEvent)
	}
	e.fill(p.EventID)
	return e, nil
}

// SameContent says whether draft, as a client wrote it, would be the content that stands.
func SameContent(v *Version, stands, draft json.RawMessage) (bool, error) {
	var room [stackRoom]byte
	canonical, err := canonicaljson.CanonicalIn(room[:0], draft, v.mode(), 1)
	if err != nil {
		return false, matrix.BadJSON("the content is not acceptable: %v", err)
	}
	return bytes.Equal(canonical, stands), nil
}

// content is the content in canonical form, with what the version has in it of the rest.
func (p *Proto) content(v *Version) ([]byte, error) {
	content, err := canonicaljson.CanonicalIn(make([]byte, 0, len(p.Content)), p.Content, v.mode(), 1)
	if err != nil {
		return nil, matrix.BadJSON("the content is not acceptable: %v", err)
	}
	if content[0] != '{' {
		return nil, matrix.BadJSON("the content is not an object")
	}
	if p.Redacts != "" && v.RedactsInContent {
		target := canonicaljson.AppendText(nil, p.Redacts)
		content = canonicaljson.AppendWithMember(nil, content, "redacts", target)
	}
	return content, nil
}

// check holds a draft to the limits that Read has for the events of others.
func (p *Proto) check(v *Version) error {
	if p.StateKey != nil && len(*p.StateKey) > v.maxKey() || len(p.Type) > maxText {
		return matrix.E(matrix.CodeTooLarge, "an event type or state key is too long")
	}
	if !utf8.ValidString(p.Type) || p.StateKey != nil && !utf8.ValidString(*p.StateKey) {
		return matrix.BadJSON("an event type or state key is not UTF-8")
	}
	if p.OriginServerTS < -canonicaljson.MaxInt || p.OriginServerTS > canonicaljson.MaxInt {
		return matrix.BadJSON("the timestamp is beyond 2^53-1")
	}
	switch { // the server's own faults
	case p.Sticky < 0 || p.Sticky > MaxSticky:
		return errors.New("build event: sticky for longer than an event may be")
	case len(p.Prev) > maxPrev || len(p.Auth) > maxAuth:
		return errors.New("build event: too many prev_events or auth_events")
	case p.Depth < 0 || p.Depth > canonicaljson.MaxInt:
		return errors.New("build event: a depth beyond 2^53-1")
	case v.EventIDInside != (p.EventID != ""):
		return errors.New("build event: an event id in a room version that has none, or the other way round")
	case len(p.Sender) > maxText || len(p.RoomID) > maxText || len(p.EventID) > maxText:
		return errors.New("build event: an id is too long")
	}
	return nil
}

// isCreate says whether the draft begins a room.
func (p *Proto) isCreate() bool {
	return p.Type == "m.room.create" && p.StateKey != nil && *p.StateKey == ""
}

// hashRoom is the length of a hash in base64.
const hashRoom = 43

// writer writes the members of an event in their canonical order, and remembers where they stand.
type writer struct{ raw []byte }

// event writes all members, and gives where the content hash goes.
func (w *writer) event(x *index, v *Version, p *Proto, content []byte) (claim int) {
	w.raw = append(w.raw, '{')
	x.auth = w.references("auth_events", v, p.Auth)
	x.content = w.member("content", content)
	x.depth = w.integer("depth", p.Depth)
	if v.EventIDInside {
		x.eventID = w.text("event_id", string(p.EventID))
	}
	x.hashes = w.member("hashes", []byte(`{"sha256":"                                           "}`))
	if p.Sticky > 0 {
		x.sticky = w.member(StickyKey, []byte(`{"duration_ms":`+strconv.FormatInt(p.Sticky, 10)+`}`))
	}
	x.ts = w.integer("origin_server_ts", p.OriginServerTS)
	x.prev = w.references("prev_events", v, p.Prev)
	if p.Redacts != "" && !v.RedactsInContent {
		x.redacts = w.text("redacts", string(p.Redacts))
	}
	if !v.RoomIDIsHash || !p.isCreate() {
		x.room = w.text("room_id", string(p.RoomID))
	}
	x.sender = w.text("sender", string(p.Sender))
	x.signatures = w.member("signatures", []byte("{}"))
	if p.StateKey != nil {
		x.stateKey = w.text("state_key", *p.StateKey)
	}
	x.typ = w.text("type", p.Type)
	w.raw[len(w.raw)-1] = '}'
	return int(x.hashes.start) + len(`{"sha256":"`)
}

func (w *writer) name(name string) uint32 {
	w.raw = append(w.raw, '"')
	w.raw = append(w.raw, name...)
	w.raw = append(w.raw, '"', ':')
	return uint32(len(w.raw))
}

func (w *writer) end(start uint32) span {
	s := span{start, uint32(len(w.raw))}
	w.raw = append(w.raw, ',')
	return s
}

func (w *writer) member(name string, value []byte) span {
	start := w.name(name)
	w.raw = append(w.raw, value...)
	return w.end(start)
}

func (w *writer) text(name, value string) span {
	start := w.name(name)
	w.raw = canonicaljson.AppendText(w.raw, value)
	return w.end(start)
}

func (w *writer) integer(name string, value int64) span {
	start := w.name(name)
	w.raw = strconv.AppendInt(w.raw, value, 10)
	return w.end(start)
}

func (w *writer) references(name string, v *Version, refs []EventRef) span {
	start := w.name(name)
	w.raw = append(w.raw, '[')
	for i, r := range refs {
		if i > 0 {
			w.raw = append(w.raw, ',')
		}
		if !v.EventIDInside {
			w.raw = canonicaljson.AppendText(w.raw, r.ID)
			continue
		}
		w.raw = append(w.raw, '[')
		w.raw = canonicaljson.AppendText(w.raw, r.ID)
		w.raw = append(w.raw, `,{"sha256":"`...)
		w.raw = base64.RawStdEncoding.AppendEncode(w.raw, r.Hash[:])
		w.raw = append(w.raw, `"}]`...)
	}
	w.raw = append(w.raw, ']')
	return w.end(start)
}
