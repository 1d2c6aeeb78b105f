package rules

import (
	"bytes"
	"fmt"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Malformed says why the bytes of another server are no event.
type Malformed struct {
	Stage string // json, format, limits, hash
	Why   string
}

func (m *Malformed) Error() string { return fmt.Sprintf("malformed event (%s): %s", m.Stage, m.Why) }

func badFormat(format string, args ...any) error {
	return &Malformed{"format", fmt.Sprintf(format, args...)}
}

func beyond(format string, args ...any) error {
	return &Malformed{"limits", fmt.Sprintf(format, args...)}
}

// Load gives an event that was stored by this server. Its bytes were verified before they were stored,
// and are kept: the caller must not write them.
func Load(v *Version, id matrix.EventID, stored []byte) (*Event, error) {
	e := &Event{version: v, raw: stored}
	if err := e.at.scan(stored); err != nil {
		return nil, fmt.Errorf("load event %s: %w", id, err)
	}
	if x := &e.at; !x.content.ok() || !x.hashes.ok() || !x.sender.ok() || !x.signatures.ok() || !x.typ.ok() {
		return nil, fmt.Errorf("load event %s: the stored bytes are no event", id)
	}
	e.fill(id)
	return e, nil
}

// Read is the strict reader: every event of another server passes it before anything else looks at it.
// What it gives has no unsigned, which nobody has signed. The event's content hash and its signatures
// are still to be checked.
//
// A key is known to the byte or not at all: "Sender" and "ſender" are members without a meaning, are
// hashed as all members are, and are gone when the event is redacted. To refuse them would set this
// server apart from all others, whose rooms would go on without it.
//
// Spec: SS "Checks performed on receipt of a PDU", 1; Room Versions "Event format".
func Read(v *Version, pdu []byte) (*Event, error) {
	if len(pdu) > maxForeign {
		return nil, beyond("more than %d bytes", maxForeign)
	}
	raw, err := canonicaljson.Canonical(make([]byte, 0, len(pdu)), pdu, v.mode())
	if err != nil {
		return nil, &Malformed{"json", err.Error()}
	}
	e := &Event{version: v, raw: raw}
	if err := e.at.scan(raw); err != nil {
		return nil, badFormat("not an object")
	}
	if err := e.dropUnsigned(); err != nil {
		return nil, err
	}
	if err := e.checkShape(); err != nil {
		return nil, err
	}
	if cap(e.raw) > 2*len(e.raw) { // what was received was mostly escapes, space and unsigned
		e.raw = bytes.Clone(e.raw)
	}
	e.fill("")
	if err := e.checkWords(); err != nil {
		return nil, err
	}
	return e, nil
}

func (v *Version) mode() canonicaljson.Mode {
	if v.StrictJSON {
		return canonicaljson.Strict
	}
	return canonicaljson.Loose
}

// dropUnsigned takes unsigned out of the bytes and measures what is left, with the empty unsigned that
// the sender measured where it came with one.
func (e *Event) dropUnsigned() error {
	at, size := e.at.unsigned, len(e.raw)
	if at.ok() {
		if e.raw[at.start] != '{' {
			return badFormat("unsigned is not an object")
		}
		begin, end := at.member("unsigned"), int(at.end)
		if e.raw[begin-1] == ',' {
			begin--
		} else if e.raw[end] == ',' {
			end++
		}
		size -= int(at.end-at.start) - len("{}")
		// All members that the index knows sort before unsigned, so it stays right.
		e.raw = append(e.raw[:begin], e.raw[end:]...)
		e.at.unsigned = span{}
	}
	if size > maxEvent {
		return beyond("%d bytes, and %d are allowed", size, maxEvent)
	}
	return nil
}

// checkShape refuses members that are missing or of the wrong kind.
func (e *Event) checkShape() error {
	x := &e.at
	bad := ""
	switch {
	case !e.begins(x.auth, '['):
		bad = "auth_events"
	case !e.begins(x.content, '{'):
		bad = "content"
	case !e.begins(x.hashes, '{'):
		bad = "hashes"
	case !e.begins(x.prev, '['):
		bad = "prev_events"
	case !e.begins(x.sender, '"'):
		bad = "sender"
	case !e.begins(x.signatures, '{'):
		bad = "signatures"
	case !e.begins(x.typ, '"'):
		bad = "type"
	case x.stateKey.ok() && !e.begins(x.stateKey, '"'):
		bad = "state_key"
	case x.room.ok() && !e.begins(x.room, '"'):
		bad = "room_id"
	case x.eventID.ok() && !e.begins(x.eventID, '"'):
		bad = "event_id"
	}
	if bad != "" {
		return badFormat("%s is missing or of the wrong kind", bad)
	}
	if err := e.checkNumbers(); err != nil {
		return err
	}
	if err := e.checkReferences(x.prev, "prev_events", maxPrev); err != nil {
		return err
	}
	if err := e.checkReferences(x.auth, "auth_events", maxAuth); err != nil {
		return err
	}
	return e.checkHashes()
}

// begins says whether a member is there and its value begins as one of its kind does.
func (e *Event) begins(at span, first byte) bool { return at.ok() && e.raw[at.start] == first }

// checkNumbers refuses times and depths that are no integers. A depth is bounded in all versions.
func (e *Event) checkNumbers() error {
	depth, ts := e.at.depth, e.at.ts
	if !depth.ok() || !ts.ok() {
		return badFormat("depth or origin_server_ts is missing")
	}
	if n, ok := integer(depth.of(e.raw)); !ok || n < 0 || n > canonicaljson.MaxInt {
		return badFormat("depth is not an integer from 0 to 2^53-1")
	}
	if _, ok := integer(ts.of(e.raw)); !ok {
		return badFormat("origin_server_ts is not an integer")
	}
	return nil
}

// checkReferences refuses prev_events and auth_events that do not name events: by their ids, and in
// versions 1 and 2 by pairs of an id and its hashes.
func (e *Event) checkReferences(at span, name string, most int) error {
	n := 0
	w := canonicaljson.WalkArray(at.of(e.raw))
	for w.Next() {
		if n++; n > most {
			return beyond("more than %d %s", most, name)
		}
		id := w.Value()
		if e.version.EventIDInside {
			pair := canonicaljson.WalkArray(id)
			if !pair.Next() {
				return badFormat("%s has an entry that is not a pair", name)
			}
			id = pair.Value()
			if !pair.Next() || pair.Value()[0] != '{' || pair.Next() {
				return badFormat("%s has an entry that is not a pair", name)
			}
		}
		if id[0] != '"' {
			return badFormat("%s has an entry that is no event ID", name)
		}
		if len(id) < 3 || id[1] != '$' || len(id) > maxText+2 {
			return badFormat("%s has an entry that is no event ID", name)
		}
	}
	return nil
}

// checkHashes refuses an event without the hash of its content, or with a hash that is none: nothing
// could be said about it later.
func (e *Event) checkHashes() error {
	claimed, ok := canonicaljson.Field(e.at.hashes.of(e.raw), "sha256")
	if !ok {
		return &Malformed{"hash", "hashes has no sha256"}
	}
	var room [64]byte
	if _, ok := canonicaljson.AppendBase64Text(room[:0], claimed); !ok {
		return &Malformed{"hash", "the sha256 of hashes is not base64"}
	}
	return nil
}

// checkWords refuses ids that are none, and texts that are too long.
func (e *Event) checkWords() error {
	long := ""
	switch {
	case len(e.typ) > maxText:
		long = "type"
	case len(e.key) > e.version.maxKey():
		long = "state_key"
	case len(e.sender) > maxText:
		long = "sender"
	case len(e.room) > maxText:
		long = "room_id"
	case len(e.id) > maxText:
		long = "event_id"
	}
	if long != "" {
		return beyond("%s is too long", long)
	}
	if !userID(e.sender) {
		return badFormat("sender is not a user ID")
	}
	if err := e.checkEventID(); err != nil {
		return err
	}
	return e.checkRoom()
}

// checkEventID refuses an event_id where the id is a hash: whoever wrote it means another room version.
func (e *Event) checkEventID() error {
	if !e.version.EventIDInside {
		if e.at.eventID.ok() {
			return badFormat("event_id is not for this room version")
		}
		return nil
	}
	if _, err := matrix.ParseEventID(string(e.id)); err != nil || e.id.Server() == "" {
		return badFormat("event_id is not an event ID")
	}
	if _, ok := canonicaljson.Field(e.at.signatures.of(e.raw), string(e.id.Server())); !ok {
		return beyond("the server of the event_id has not signed")
	}
	return nil
}

// userID takes what ParseUserID takes, and besides an empty localpart: there are users with none in old
// rooms, and their events are accepted everywhere.
func userID(u matrix.UserID) bool {
	local, server, found := strings.Cut(string(u), ":")
	if !found || !strings.HasPrefix(local, "@") || strings.IndexByte(local, 0) >= 0 {
		return false
	}
	_, err := matrix.ParseServerName(server)
	return err == nil
}

func (e *Event) checkRoom() error {
	if !e.version.RoomIDIsHash {
		if _, err := matrix.ParseRoomID(string(e.room)); err != nil {
			return badFormat("room_id is not a room ID")
		}
		return nil
	}
	if e.isCreate() {
		if e.at.room.ok() {
			return badFormat("a create event has no room_id in this room version")
		}
		return nil
	}
	if _, err := matrix.ParseRoomID(string(e.room)); err != nil || strings.IndexByte(string(e.room), ':') >= 0 {
		return badFormat("room_id is not a room ID of this room version")
	}
	for _, a := range e.auth {
		if a[1:] == matrix.EventID(e.room[1:]) {
			return badFormat("auth_events names the create event")
		}
	}
	return nil
}

// isCreate says whether the event begins a room.
func (e *Event) isCreate() bool { return e.IsState("m.room.create", "") }
