package roomserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// sensible refuses drafts that the rules of events would let pass, but which a server must not send for
// its users.
func (b *batch) sensible(h *head, d *Draft) error {
	if err := b.sensibleRelation(h, d); err != nil {
		return err
	}
	if err := sensibleKey(h, d); err != nil {
		return err
	}
	switch d.Type {
	case "m.room.canonical_alias":
		return b.sensibleAlias(h, d)
	case "m.room.redaction":
		return b.sensibleRedaction(h, d)
	case "m.room.power_levels":
		if err := sensibleLevels(d); err != nil {
			return err
		}
		return b.sensibleCreators(h, d)
	case "m.room.create":
		if h.seq > 0 {
			return matrix.BadJSON("a room has one create event, which begins it")
		}
	case "m.room.member":
		return b.sensibleMember(h, d)
	}
	return nil
}

// sensibleKey refuses a state key that looks owned, but by nobody.
func sensibleKey(h *head, d *Draft) error {
	if d.StateKey == nil || !h.version.OwnedKeys || !strings.HasPrefix(*d.StateKey, "@") {
		return nil
	}
	if _, ok := h.version.KeyOwner(*d.StateKey); !ok {
		return matrix.BadJSON("a state key that begins with @ must begin with a user ID")
	}
	return nil
}

type canonicalAlias struct {
	Alias      *string  `json:"alias,omitempty"`
	AltAliases []string `json:"alt_aliases,omitempty"`
}

func (c canonicalAlias) names() []string {
	if c.Alias == nil || *c.Alias == "" {
		return c.AltAliases
	}
	return append([]string{*c.Alias}, c.AltAliases...)
}

// sensibleAlias refuses names that are not the room's. The first event of a new room is exempt: its
// alias is claimed in the same transaction.
func (b *batch) sensibleAlias(h *head, d *Draft) error {
	if h.fresh || d.StateKey == nil || *d.StateKey != "" {
		return nil
	}
	var wanted, stands canonicalAlias
	if err := json.Unmarshal(d.Content, &wanted); err != nil {
		return matrix.InvalidParam("alias must be a room alias, and alt_aliases a list of them")
	}
	old, err := b.stateEvent(h, rules.StateKey{Type: d.Type})
	if err != nil {
		return err
	}
	if old != nil && json.Unmarshal(old.Content(), &stands) != nil {
		stands = canonicalAlias{}
	}
	return b.checkCanonicalAlias(h, d, wanted.names(), stands.names())
}

// sensibleRedaction refuses redactions that would take no effect.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}
func (b *batch) sensibleRedaction(h *head, d *Draft) error {
	target, err := b.eventByID(h.nid, d.Redacts)
	if err != nil {
		return fmt.Errorf("find the event to redact: %w", err)
	}
	if d.Suspended && (target == nil || target.Sender() != d.Sender) {
		return errSuspended
	}
	if target == nil {
		others, err := b.r.ServersIn(b.tx, h.nid)
		if err == nil && len(others) == 0 { // another server may know it
			err = matrix.NotFound("the room has no event %s", d.Redacts)
		}
		return err
	}
	if target.Type() == "m.room.create" {
		return matrix.Forbidden("a create event cannot be redacted")
	}
	if target.Sender() == d.Sender {
		return nil
	}
	levels, err := b.levels(h)
	if err != nil {
		return err
	}
	if !levels.MayRedact(d.Sender) {
		return matrix.Forbidden("you may not redact events of others")
	}
	return nil
}

// sensibleLevels refuses power levels that are not numbers, which old room versions would let pass.
//
// Spec: CS m.room.power_levels.
func sensibleLevels(d *Draft) error {
	type levels map[string]integer
	var content struct {
		Users         levels   `json:"users"`
		Events        levels   `json:"events"`
		Notifications levels   `json:"notifications"`
		UsersDefault  *integer `json:"users_default"`
		EventsDefault *integer `json:"events_default"`
		StateDefault  *integer `json:"state_default"`
		Ban           *integer `json:"ban"`
		Kick          *integer `json:"kick"`
		Redact        *integer `json:"redact"`
		Invite        *integer `json:"invite"`
	}
	if err := json.Unmarshal(d.Content, &content); err != nil {
		return matrix.BadJSON("every power level must be an integer")
	}
	for user := range content.Users {
		if _, err := matrix.ParseUserID(user); err != nil {
			return matrix.BadJSON("the power levels name %q, which is not a user ID", user)
		}
	}
	return nil
}

// sensibleCreators refuses power levels of those who stand above all power levels.
//
// Spec: Room Versions 12, "Authorization rules".
func (b *batch) sensibleCreators(h *head, d *Draft) error {
	if !h.version.PrivilegedCreators || h.seq == 0 {
		return nil
	}
	create, err := b.stateEvent(h, rules.StateKey{Type: "m.room.create"})
	if err != nil || create == nil {
		return err
	}
	var content struct {
		Users map[matrix.UserID]json.RawMessage `json:"users"`
	}
	if err := json.Unmarshal(d.Content, &content); err != nil {
		return matrix.BadJSON("users must be an object")
	}
	for user := range content.Users {
		if create.Create().IsCreator(user) {
			return matrix.BadJSON("%s has made the room, and cannot have a power level", user)
		}
	}
	return nil
}

// integer is a JSON number without fraction or exponent.
type integer struct{}

// UnmarshalJSON refuses all but integers.
func (*integer) UnmarshalJSON(in []byte) error {
	digits := bytes.TrimPrefix(in, []byte("-"))
	if len(digits) == 0 || len(bytes.Trim(digits, "0123456789")) > 0 {
		return fmt.Errorf("%s is not an integer", in)
	}
	return nil
}

// sensibleMember refuses member events whose shape other servers would not take, and to leave what cannot
// be left.
func (b *batch) sensibleMember(h *head, d *Draft) error {
	if d.StateKey == nil {
		return matrix.BadJSON("a member event is a state event")
	}
	if _, err := matrix.ParseUserID(*d.StateKey); err != nil {
		return matrix.InvalidParam("the state key of a member event must be a user ID")
	}
	now, err := b.stateEvent(h, rules.StateKey{Type: d.Type, Key: *d.StateKey})
	if err != nil {
		return err
	}
	if now == nil || now.Membership() != matrix.Join {
		if err := b.mayEnter(h, d); err != nil {
			return err
		}
	}
	if b.r.notices == "" || d.Ending || string(d.Sender) != *d.StateKey {
		return nil
	}
	var content struct {
		Membership matrix.Membership `json:"membership"`
	}
	if now != nil && now.Membership() == matrix.Invite && now.Sender() == b.r.notices &&
		json.Unmarshal(d.Content, &content) == nil && content.Membership == matrix.Leave {
		return matrix.E(matrix.CodeCannotLeaveServerNoticeRoom, "an invite to the server's notices cannot be refused")
	}
	return nil
}

// mayEnter refuses to join, to invite to, and to knock at a room that the administrators have blocked.
func (b *batch) mayEnter(h *head, d *Draft) error {
	var content struct {
		Membership matrix.Membership `json:"membership"`
	}
	if json.Unmarshal(d.Content, &content) != nil || h.fresh {
		return nil
	}
	switch content.Membership {
	case matrix.Join, matrix.Invite, matrix.Knock:
		return notBlocked(b.tx, h.id)
	}
	return nil
}
