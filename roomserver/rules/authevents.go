package rules

import (
	"bytes"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// AuthTypes chooses which events of the state an event refers to as its permission, so far as the state
// has them. The content need not be canonical.
//
// Spec: SS "Auth events selection"; Room Versions 8 and 12.
func AuthTypes(v *Version, tp string, sender matrix.UserID, stateKey *string, content []byte) []StateKey {
	if tp == "m.room.create" {
		return nil
	}
	keys := make([]StateKey, 0, 6)
	if v.CreateInAuthEvents {
		keys = append(keys, StateKey{Type: "m.room.create"})
	}
	keys = append(keys, StateKey{Type: "m.room.power_levels"}, StateKey{"m.room.member", string(sender)})
	if tp == "m.room.member" && stateKey != nil {
		if bytes.IndexByte(content, '\\') >= 0 { // a key may be written with escapes
			content, _ = canonicaljson.CanonicalIn(nil, content, v.mode(), 1)
		}
		keys = appendMemberTypes(keys, v, *stateKey, parseMember(v, content))
	}
	return keys
}

// authTypes is AuthTypes for an event, without parsing its content again.
func (e *Event) authTypes(keys []StateKey) []StateKey {
	if e.typ == "m.room.create" {
		return keys
	}
	if e.version.CreateInAuthEvents {
		keys = append(keys, StateKey{Type: "m.room.create"})
	}
	keys = append(keys, StateKey{Type: "m.room.power_levels"}, StateKey{"m.room.member", string(e.sender)})
	if key, isState := e.StateKey(); isState && e.typ == "m.room.member" {
		keys = appendMemberTypes(keys, e.version, key, e.MemberContent())
	}
	return keys
}

// appendMemberTypes adds what only the rules for member events look at.
func appendMemberTypes(keys []StateKey, v *Version, user string, m *MemberContent) []StateKey {
	member := func(u string) {
		key := StateKey{"m.room.member", u}
		for _, k := range keys {
			if k == key {
				return
			}
		}
		keys = append(keys, key)
	}
	member(user)
	switch m.Membership {
	case matrix.Join, matrix.Invite, matrix.Knock:
		keys = append(keys, StateKey{Type: "m.room.join_rules"})
	}
	if m.Membership == matrix.Invite && m.thirdParty != nil {
		if signed, ok := canonicaljson.Field(m.thirdParty, "signed"); ok {
			if token, ok := field(signed, "token"); ok {
				keys = append(keys, StateKey{"m.room.third_party_invite", token})
			}
		}
	}
	if m.Membership == matrix.Join && v.RestrictedJoins && m.AuthorisedVia != "" {
		member(string(m.AuthorisedVia))
	}
	return keys
}

// Cited is an event that another one refers to as its permission.
type Cited struct {
	*Event
	Rejected bool
}

// CheckAuthEvents decides by the rules that look at the list of auth events: whether these are the ones
// that an event of its kind refers to, all of its room, and accepted. In room versions whose events do
// not name the create event the caller adds it: the room's id says which it is. A refusal is a *Refused.
//
// Spec: Room Versions "Authorization rules", "Considering the event's auth_events".
func CheckAuthEvents(e *Event, cited []Cited) error {
	if e.typ == "m.room.create" {
		return nil
	}
	var room [8]StateKey
	wanted := e.authTypes(room[:0])
	if !e.version.CreateInAuthEvents {
		wanted = append(wanted, StateKey{Type: "m.room.create"})
	}
	var create *Event
	for i, c := range cited {
		if err := checkCited(e, cited[:i], c, wanted); err != nil {
			return err
		}
		if c.typ == "m.room.create" {
			create = c.Event
		}
	}
	if create == nil {
		return refuse("auth-create", "the event does not refer to the create event of its room")
	}
	return nil
}

func checkCited(e *Event, before []Cited, c Cited, wanted []StateKey) error {
	key, isState := c.StateKey()
	found := false
	for _, w := range wanted {
		found = found || isState && w == StateKey{c.typ, key}
	}
	if !found {
		return refuse("auth-unneeded", "the event refers to %s, which says nothing about its kind", c.id)
	}
	for _, b := range before {
		if b.IsState(c.typ, key) {
			return refuse("auth-duplicate", "the event refers to two events of type %s with the same state key", c.typ)
		}
	}
	if c.Rejected {
		return refuse("auth-rejected", "the event refers to %s, which was rejected", c.id)
	}
	if c.room != e.room {
		return refuse("auth-room", "the event refers to %s, which is of another room", c.id)
	}
	return nil
}
