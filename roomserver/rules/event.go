package rules

import (
	"encoding/json"

	"astrocyte/matrix"
)

// Event is an immutable, verified event of a room.
type Event struct {
	version *Version
	raw     []byte // canonical JSON, without unsigned
	at      index
	words

	prev, auth []matrix.EventID // share one array
	depth, ts  int64
	sticky     int64
	contents   contents
}

// words are the strings of an event. They are parts of one string of their own, so that who keeps one
// of them does not keep the bytes of the event.
type words struct {
	id      matrix.EventID
	room    matrix.RoomID
	sender  matrix.UserID
	typ     string
	key     string
	redacts matrix.EventID
}

// StateKey names a place in the state of a room.
type StateKey struct{ Type, Key string }

// EventRef is a reference to another event. Only room versions 1 and 2 write its hash.
type EventRef struct {
	ID   matrix.EventID
	Hash [32]byte
}

// ID is the event's identifier.
func (e *Event) ID() matrix.EventID { return e.id }

// Version is the version of the event's room.
func (e *Event) Version() *Version { return e.version }

// RoomID is the event's room. Where the version says so it is made of the create event's hash.
func (e *Event) RoomID() matrix.RoomID { return e.room }

// Sender is the user who sent the event.
func (e *Event) Sender() matrix.UserID { return e.sender }

// Type is the type of the event.
func (e *Event) Type() string { return e.typ }

// StateKey is the state key of a state event; false where the event is none.
func (e *Event) StateKey() (string, bool) { return e.key, e.at.stateKey.ok() }

// IsState says whether the event is the state of this type and key.
func (e *Event) IsState(tp, key string) bool {
	return e.at.stateKey.ok() && e.typ == tp && e.key == key
}

// Content is the canonical bytes of the content. They must not be written.
func (e *Event) Content() json.RawMessage { return e.at.content.of(e.raw) }

// Bytes is the event as canonical JSON with hashes and signatures, without unsigned. They must not be
// written.
func (e *Event) Bytes() []byte { return e.raw[:len(e.raw):len(e.raw)] }

// Depth is the depth that the sender gave. Nothing is ordered by it.
func (e *Event) Depth() int64 { return e.depth }

// OriginServerTS is the time that the sender gave, in milliseconds.
func (e *Event) OriginServerTS() int64 { return e.ts }

// Prev is the events before this one. The slice must not be written.
func (e *Event) Prev() []matrix.EventID { return e.prev }

// Auth is the events that this one names as its permission. The slice must not be written.
func (e *Event) Auth() []matrix.EventID { return e.auth }

// Redacts is the event that a redaction is about, wherever its version writes it; empty in other events.
func (e *Event) Redacts() matrix.EventID { return e.redacts }

// Ref is a reference to the event.
func (e *Event) Ref() EventRef {
	ref := EventRef{ID: e.id}
	if e.version.EventIDInside {
		ref.Hash = e.ReferenceHash()
	}
	return ref
}
