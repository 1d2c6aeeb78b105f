package rules

import (
	"bytes"
	"encoding/json"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// IntegerLevels gives the content of a power levels event as all room versions take it: levels that are strings or have a
// fraction, which counted up to version 9, are the integers that they counted as. What is no level is left out, and so
// are the levels of what is no user.
//
// Spec: Room Versions 10 "Values in m.room.power_levels events must be integers".
func (e *Event) IntegerLevels() map[string]json.RawMessage {
	content := make(map[string]json.RawMessage)
	for w := canonicaljson.Walk(e.Content()); w.Next(); {
		switch key := w.Key(); {
		case key == "users":
			content[key] = e.version.integers(w.Value(), func(name string) bool {
				_, err := matrix.ParseUserID(name)
				return err == nil
			})
		case key == "events" || key == "notifications":
			content[key] = e.version.integers(w.Value(), func(string) bool { return true })
		case isLevel(key):
			if level, ok := e.version.level(w.Value()); ok {
				content[key] = level.integer()
			}
		default:
			content[key] = bytes.Clone(w.Value())
		}
	}
	return content
}

func isLevel(key string) bool {
	for _, n := range namedKeys {
		if n.key == key {
			return true
		}
	}
	return false
}

// integers gives the levels of an object, by those of its keys that count.
func (v *Version) integers(value []byte, counts func(key string) bool) json.RawMessage {
	levels := make(map[string]json.RawMessage)
	for w := canonicaljson.Walk(value); w.Next(); {
		if level, ok := v.level(w.Value()); ok && counts(w.Key()) {
			levels[w.Key()] = level.integer()
		}
	}
	raw, err := json.Marshal(levels)
	if err != nil { // nothing but texts and digits
		return json.RawMessage("{}")
	}
	return raw
}

// integer writes a level; one that is beyond the integers of canonical JSON is the last of these.
func (l Level) integer() json.RawMessage {
	return strconv.AppendInt(nil, min(max(int64(l), -canonicaljson.MaxInt), canonicaljson.MaxInt), 10)
}
