package rules

import (
	"bytes"

	"astrocyte/matrix/canonicaljson"
)

// Redact gives the event without what its version's redaction removes. It keeps its id, its hashes and
// its signatures, which stay valid.
//
// Spec: Room Versions "Redactions".
func (e *Event) Redact() *Event {
	var room [stackRoom]byte
	r := &Event{
		version: e.version, raw: bytes.Clone(e.appendRedacted(room[:0], true)),
		words: e.words, prev: e.prev, auth: e.auth, depth: e.depth, ts: e.ts,
	}
	if !e.version.RedactsInContent {
		r.redacts = ""
	}
	_ = r.at.scan(r.raw) // no error: what was kept of canonical JSON is canonical JSON
	return r
}

// Redacted says whether the event is in redacted form and has lost something by that.
func (e *Event) Redacted() bool { return !e.ContentHashOK() }

// appendRedacted appends the event in redacted form, with its signatures or without.
func (e *Event) appendRedacted(dst []byte, signatures bool) []byte {
	x := &e.at
	dst = append(dst, '{')
	dst = e.keep(dst, x.auth, "auth_events")
	dst = e.keepContent(dst)
	dst = e.keep(dst, x.depth, "depth")
	dst = e.keep(dst, x.eventID, "event_id")
	dst = e.keep(dst, x.hashes, "hashes")
	if e.version.KeepsOldMembers {
		dst = e.keep(dst, x.membership, "membership")
		dst = e.keep(dst, x.origin, "origin")
	}
	dst = e.keep(dst, x.ts, "origin_server_ts")
	dst = e.keep(dst, x.prev, "prev_events")
	if e.version.KeepsOldMembers {
		dst = e.keep(dst, x.prevState, "prev_state")
	}
	dst = e.keep(dst, x.room, "room_id")
	dst = e.keep(dst, x.sender, "sender")
	if signatures {
		dst = e.keep(dst, x.signatures, "signatures")
	}
	dst = e.keep(dst, x.stateKey, "state_key")
	dst = e.keep(dst, x.typ, "type")
	return closeObject(append(dst, '}'))
}

// keep appends a member of the event, where it has it, and a comma.
func (e *Event) keep(dst []byte, at span, name string) []byte {
	if !at.ok() {
		return dst
	}
	dst = append(dst, e.raw[at.member(name):at.end]...)
	return append(dst, ',')
}

func (e *Event) keepContent(dst []byte) []byte {
	if !e.at.content.ok() {
		return dst
	}
	kept := e.version.keptContent(e.typ)
	if kept == nil {
		return append(dst, `"content":{},`...)
	}
	if kept.whole {
		return e.keep(dst, e.at.content, "content")
	}
	dst = append(dst, `"content":{`...)
	w := canonicaljson.Walk(e.at.content.of(e.raw))
	for w.Next() {
		key := string(w.RawKey())
		switch {
		case kept.has(key):
			dst = appendMember(dst, key, w.Value())
		case kept.signed && key == "third_party_invite":
			dst = appendSignedOnly(dst, w.Value())
		}
	}
	return append(closeObject(append(dst, '}')), ',')
}

func appendMember(dst []byte, key string, value []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, key...)
	dst = append(dst, '"', ':')
	dst = append(dst, value...)
	return append(dst, ',')
}

// appendSignedOnly keeps of a third_party_invite its signed only. Where it has none an empty object
// stays: the specification's words would leave out the whole, but what other servers do decides here,
// because it changes the event's id.
func appendSignedOnly(dst, invite []byte) []byte {
	if len(invite) == 0 || invite[0] != '{' {
		return dst
	}
	signed, ok := canonicaljson.Field(invite, "signed")
	if !ok {
		return append(dst, `"third_party_invite":{},`...)
	}
	dst = append(dst, `"third_party_invite":{"signed":`...)
	dst = append(dst, signed...)
	return append(dst, '}', ',')
}

// kept is what redaction leaves of the content of a type of event.
type kept struct {
	whole  bool
	keys   []string
	signed bool // and third_party_invite.signed
}

func (k *kept) has(key string) bool {
	for _, name := range k.keys {
		if name == key {
			return true
		}
	}
	return false
}

// What redaction leaves, by type. Spec: Room Versions "Redactions", each with what it added.
var (
	keptMembership  = &kept{keys: []string{"membership"}}
	keptAuthorised  = &kept{keys: []string{"membership", "join_authorised_via_users_server"}}
	keptMember11    = &kept{keys: keptAuthorised.keys, signed: true}
	keptCreator     = &kept{keys: []string{"creator"}}
	keptWhole       = &kept{whole: true}
	keptJoinRule    = &kept{keys: []string{"join_rule"}}
	keptAllow       = &kept{keys: []string{"join_rule", "allow"}}
	keptVisibility  = &kept{keys: []string{"history_visibility"}}
	keptAliases     = &kept{keys: []string{"aliases"}}
	keptRedacts     = &kept{keys: []string{"redacts"}}
	keptPowerLevels = &kept{keys: []string{
		"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default",
	}}
	keptPowerLevels11 = &kept{keys: append([]string{"invite"}, keptPowerLevels.keys...)}
)

// keptContent is what stays of the content of a type, nil for nothing.
func (v *Version) keptContent(tp string) *kept {
	switch tp {
	case "m.room.member":
		switch {
		case v.KeepsWholeCreate:
			return keptMember11
		case v.KeepsAuthorisedVia:
			return keptAuthorised
		}
		return keptMembership
	case "m.room.create":
		return either(v.KeepsWholeCreate, keptWhole, keptCreator)
	case "m.room.join_rules":
		return either(v.KeepsAllow, keptAllow, keptJoinRule)
	case "m.room.power_levels":
		return either(v.KeepsWholeCreate, keptPowerLevels11, keptPowerLevels)
	case "m.room.history_visibility":
		return keptVisibility
	case "m.room.aliases":
		return either(v.KeepsAliases, keptAliases, nil)
	case "m.room.redaction":
		return either(v.RedactsInContent, keptRedacts, nil)
	}
	return nil
}

func either(condition bool, yes, no *kept) *kept {
	if condition {
		return yes
	}
	return no
}
