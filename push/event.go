package push

import (
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/matrix/glob"
	"astrocyte/roomserver/rules"
)

// Event is an event as the rules look at it. Its members are found when they are asked for.
type Event struct {
	raw      []byte // canonical
	id       matrix.EventID
	room     matrix.RoomID
	sender   matrix.UserID
	typ      string
	stateKey string
	isState  bool
	content  []byte
}

// About makes ready to ask the rules about an event.
func About(e *rules.Event) *Event {
	key, isState := e.StateKey()
	return &Event{
		raw: e.Bytes(), id: e.ID(), room: e.RoomID(), sender: e.Sender(), typ: e.Type(),
		stateKey: key, isState: isState, content: e.Content(),
	}
}

// AboutJSON is About for an event in canonical JSON, in the form that clients get.
func AboutJSON(event []byte) *Event {
	e := &Event{raw: event}
	text := func(name string) string {
		value, _ := canonicaljson.Field(event, name)
		s, _ := canonicaljson.Text(value)
		return s
	}
	e.id, e.room = matrix.EventID(text("event_id")), matrix.RoomID(text("room_id"))
	e.sender, e.typ, e.stateKey = matrix.UserID(text("sender")), text("type"), text("state_key")
	_, e.isState = canonicaljson.Field(event, "state_key")
	e.content, _ = canonicaljson.Field(event, "content")
	return e
}

// text is the string at a path; false where there is none, or something else.
func (e *Event) text(f *field) (string, bool) {
	if len(f.rest) == 0 {
		switch f.first {
		case "type":
			return e.typ, true
		case "sender":
			return string(e.sender), true
		case "state_key":
			return e.stateKey, e.isState
		case "room_id":
			return string(e.room), e.room != ""
		case "event_id":
			return string(e.id), e.id != ""
		}
	}
	value, ok := e.value(f)
	if !ok {
		return "", false
	}
	return canonicaljson.Text(value)
}

// value is the canonical bytes at a path.
func (e *Event) value(f *field) ([]byte, bool) {
	if f.first == "content" && e.content != nil {
		return canonicaljson.Field(e.content, f.rest...)
	}
	value, ok := canonicaljson.Field(e.raw, f.first)
	if !ok {
		return nil, false
	}
	return canonicaljson.Field(value, f.rest...)
}

// says says whether a name stands in the body, as a word; there is no empty name.
func (e *Event) says(name string) bool {
	if name == "" {
		return false
	}
	body, ok := e.text(&field{first: "content", rest: []string{"body"}})
	return ok && glob.Literal(name).MatchWords(body)
}

// thread is the root of the thread that the event is in, empty where it is in none.
//
// Spec: CS "Threading".
func (e *Event) thread() matrix.EventID {
	about := func(name string) string {
		text, _ := e.text(&field{first: "content", rest: []string{"m.relates_to", name}})
		return text
	}
	if about("rel_type") != "m.thread" {
		return ""
	}
	return matrix.EventID(about("event_id"))
}
