package rules

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Malformed says why the bytes of another server are no event.
type Malformed struct {
	Stage string // json, format, limits
	Why   string
}

func (m *Malformed) Error() string { return fmt.Sprintf("malformed event (%s): %s", m.Stage, m.Why) }

// Load gives an event that was stored by this server. Its bytes were verified before they were stored.
func Load(v *Version, id matrix.EventID, stored []byte) (*Event, error) {
	e := &Event{version: v, raw: stored}
	if err := e.at.scan(stored); err != nil {
		return nil, fmt.Errorf("load event %s: %w", id, err)
	}
	e.fill(id)
	e.name()
	return e, nil
}

// Read is the strict reader: every event of another server passes it before anything else looks at it.
func Read(v *Version, pdu []byte) (*Event, error) {
	mode := canonicaljson.Strict
	if !v.StrictJSON {
		mode = canonicaljson.Loose
	}
	raw, err := canonicaljson.Canonical(make([]byte, 0, len(pdu)), pdu, mode)
	if err != nil {
		return nil, &Malformed{"json", err.Error()}
	}
	e := &Event{version: v, raw: raw}
	if err := e.at.scan(raw); err != nil {
		return nil, &Malformed{"format", err.Error()}
	}
	e.fill("")
	e.name()
	return e, nil
}

// name gives the event its id, and the create event its room, where these are hashes.
func (e *Event) name() {
	if e.id == "" {
		e.id = hashID(e.version, e.ReferenceHash())
	}
	if e.version.RoomIDIsHash && e.typ == "m.room.create" && e.key == "" {
		e.room = matrix.RoomID("!" + e.id[1:])
	}
}
