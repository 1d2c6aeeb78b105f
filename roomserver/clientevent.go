package roomserver

import (
	"encoding/json"
	"strconv"

	"astrocyte/roomserver/rules"
)

// Format is a form in which clients are given events.
type Format int

// The formats. Spec: CS "Room event format", "Filtering" (event_format).
const (
	WithRoomID    Format = iota // client format
	WithoutRoomID               // client format, as in /sync
	Federation                  // as servers exchange it
)

// SeqKey is where an event's unsigned part tells its place in the room's timeline.
const SeqKey = "im.astrocyte.seq"

// MarshalJSON writes the event in client format.
func (e *ClientEvent) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil, WithRoomID), nil }

// AppendJSON writes the event as JSON.
func (e *ClientEvent) AppendJSON(dst []byte, f Format) []byte {
	if f == Federation {
		return e.appendFederation(dst)
	}
	dst = append(dst, `{"content":`...)
	dst = e.appendContent(dst)
	dst = appendMember(dst, `,"event_id":`, string(e.ID()))
	if s := e.Shown.Sticky(); s > 0 {
		dst = append(dst, `,"`+rules.StickyKey+`":{"duration_ms":`...)
		dst = append(strconv.AppendInt(dst, s, 10), '}')
	}
	dst = append(dst, `,"origin_server_ts":`...)
	dst = strconv.AppendInt(dst, e.OriginServerTS(), 10)
	if r := e.Shown.Redacts(); r != "" && e.Type() == "m.room.redaction" {
		dst = appendMember(dst, `,"redacts":`, string(r))
	}
	if f == WithRoomID {
		dst = appendMember(dst, `,"room_id":`, string(e.RoomID()))
	}
	dst = appendMember(dst, `,"sender":`, string(e.Sender()))
	if key, ok := e.StateKey(); ok {
		dst = appendMember(dst, `,"state_key":`, key)
	}
	dst = appendMember(dst, `,"type":`, e.Type())
	dst = append(dst, `,"unsigned":`...)
	dst = e.appendUnsigned(dst)
	return append(dst, '}')
}

// appendContent writes the content. Redactions of rooms before version 11 name their target beside it:
// clients find it in both places.
//
// Spec: RV 11 "Moving the redacts property", CS m.room.redaction.
func (e *ClientEvent) appendContent(dst []byte) []byte {
	content := e.Shown.Content()
	r := e.Shown.Redacts()
	if e.Type() != "m.room.redaction" || r == "" || e.Version().RedactsInContent {
		return append(dst, content...)
	}
	dst = appendMember(dst, `{"redacts":`, string(r))
	if len(content) > len("{}") {
		dst = append(dst, ',')
	}
	return append(dst, content[1:]...)
}

func (e *ClientEvent) appendFederation(dst []byte) []byte {
	pdu := e.Shown.Bytes()
	dst = append(dst, pdu[:len(pdu)-1]...)
	dst = append(dst, `,"unsigned":`...)
	return append(e.appendUnsigned(dst), '}')
}

// appendUnsigned writes what the server adds for this viewer.
//
// Spec: CS UnsignedData.
func (e *ClientEvent) appendUnsigned(dst []byte) []byte {
	dst = append(dst, `{"age":`...)
	dst = strconv.AppendInt(dst, e.At-e.OriginServerTS(), 10)
	if e.Seq != 0 {
		dst = append(dst, `,"`+SeqKey+`":`...)
		dst = strconv.AppendInt(dst, e.Seq, 10)
	}
	if e.Bundle != nil {
		dst = append(dst, `,"m.relations":`...)
		dst = e.Bundle.appendJSON(dst)
	}
	if e.Membership != "" {
		dst = appendMember(dst, `,"membership":`, string(e.Membership))
	}
	if e.Prev != nil && !e.Bare {
		dst = append(dst, `,"prev_content":`...)
		dst = append(dst, e.Prev.shownContent()...)
		dst = appendMember(dst, `,"prev_sender":`, string(e.Prev.Sender()))
		dst = appendMember(dst, `,"replaces_state":`, string(e.Prev.ID()))
	}
	if e.Because != nil {
		because := ClientEvent{Event: e.Because, Shown: e.Because.Event, At: e.At}
		dst = append(dst, `,"redacted_because":`...)
		dst = because.AppendJSON(dst, WithRoomID)
	}
	if e.StickyFor > 0 { // MSC4354
		dst = append(dst, `,"msc4354_sticky_duration_ttl_ms":`...)
		dst = strconv.AppendInt(dst, e.StickyFor, 10)
	}
	if e.Txn != "" {
		dst = appendMember(dst, `,"transaction_id":`, e.Txn)
	}
	if e.Delay != "" { // MSC4140, by its stable and unstable names
		dst = appendMember(dst, `,"delay_id":`, e.Delay)
		dst = appendMember(dst, `,"org.matrix.msc4140.delay_id":`, e.Delay)
	}
	return append(dst, '}')
}

// shownContent is the content that anybody may still see.
func (e *Event) shownContent() []byte {
	if e.RedactedBy != 0 {
		return e.Event.Redact().Content()
	}
	return e.Content()
}

// appendMember writes a member of an object whose value is a string.
func appendMember(dst []byte, name, value string) []byte {
	return appendString(append(dst, name...), value)
}

// appendString writes a JSON string. Identifiers rarely need an escape.
func appendString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always has a JSON form
				quoted = []byte(`""`)
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
