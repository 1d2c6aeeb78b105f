package rules

import (
	"fmt"

	"astrocyte/matrix"
)

// StateFunc finds an event of the state before the one that is authorized; nil where there is none.
type StateFunc func(tp, key string) *Event

// Refused says which rule forbids an event, and why.
type Refused struct {
	Rule string // a short, stable name
	Why  string // written for the event's sender, and may be shown to them
}

func (r *Refused) Error() string { return r.Why }

func refuse(rule, why string, args ...any) error {
	return &Refused{Rule: rule, Why: fmt.Sprintf(why, args...)}
}

// verdict is what a rule says that does not refuse.
type verdict int

const (
	next  verdict = iota // nothing: the next rule decides
	allow                // the event is allowed, whatever the rules below say
)

// rule is one rule of the list that a room version has.
type rule struct {
	words   string // of the specification, by which the rule is found there
	applies func(v *Version) bool
	judge   func(c *check) (verdict, error)
}

func always(*Version) bool { return true }

// ruleList is the rules that look at the state, of all versions, in their order. What they say of
// auth_events is CheckAuthEvents; signatures are checked before, by RequiredSigners.
//
// Spec: Room Versions "Authorization rules".
func ruleList() []rule {
	return []rule{
		{"If type is m.room.create", always, judgeCreate},
		{"If there is no m.room.create event among the entries", always, needCreate},
		{"If the content of the m.room.create event in the room state has the property m.federate set to false",
			always, judgeFederation},
		{"If type is m.room.aliases", func(v *Version) bool { return v.AliasesByServer }, judgeAliases},
		{"If type is m.room.member", always, judgeMember},
		{"If the sender's current membership state is not join", always, needJoined},
		{"If type is m.room.third_party_invite", always, judgeThirdPartyInvite},
		{"If the event type's required power level is greater than the sender's power level", always, needPower},
		{"If the event has a state_key that starts with an @ and does not match the sender", always, needOwnKey},
		{"If type is m.room.power_levels", always, judgePowerLevels},
		{"If type is m.room.redaction", func(v *Version) bool { return v.RedactsByServer }, judgeRedaction},
	}
}

// tableRules chooses for every version those that it has.
func tableRules() map[*Version][]rule {
	table := map[*Version][]rule{}
	for _, v := range append(Versions(), Trials()...) {
		for _, r := range ruleList() {
			if r.applies(v) {
				table[v] = append(table[v], r)
			}
		}
	}
	return table
}

var versionRules = tableRules()

// Authorize decides by the rules of the event's version whether the state before an event allows it. A
// refusal is a *Refused.
//
// Spec: Room Versions "Authorization rules".
func Authorize(e *Event, state StateFunc) error {
	c := &check{e: e, state: state}
	c.key, c.isState = e.StateKey()
	for _, r := range versionRules[e.version] {
		if v, err := r.judge(c); v == allow || err != nil {
			return err
		}
	}
	return nil
}

// check is one event under the rules, with what they have looked up.
type check struct {
	e       *Event
	state   StateFunc
	key     string
	isState bool
	create  *Event

	powerKnown bool
	power      PowerLevels
}

// levels are the power levels of the state.
func (c *check) levels() *PowerLevels {
	if !c.powerKnown {
		c.power, c.powerKnown = readLevels(c.create, c.state("m.room.power_levels", "")), true
	}
	return &c.power
}

// own is the power of the event's sender.
func (c *check) own() Level { return c.levels().User(c.e.sender) }

// membership is that of a user in the state, Leave where there is none.
func (c *check) membership(user string) matrix.Membership {
	if m := c.state("m.room.member", user); m != nil {
		return m.Membership()
	}
	return matrix.Leave
}

// judgeCreate allows or refuses a create event by itself.
func judgeCreate(c *check) (verdict, error) {
	e := c.e
	if e.typ != "m.room.create" {
		return next, nil
	}
	content := e.Create()
	switch {
	case len(e.prev) > 0:
		return next, refuse("create-prev", "a room's first event cannot come after others")
	case e.version.RoomIDIsHash && e.at.room.ok():
		return next, refuse("create-room-id", "the create event of room version %s has no room_id", e.version.ID)
	case !e.version.RoomIDIsHash && e.room.Server() != e.sender.Server():
		return next, refuse("create-domain", "a room of %s cannot be created by %s", e.room.Server(), e.sender)
	case !content.knownVersion:
		return next, refuse("create-version", "the room_version of the create event is not known")
	case e.version.PrivilegedCreators && content.badCreators:
		return next, refuse("create-creators", "additional_creators must be a list of user IDs")
	case e.version.CreatorInContent && !content.hasCreator:
		return next, refuse("create-creator", "the create event names no creator")
	}
	return allow, nil
}

func needCreate(c *check) (verdict, error) {
	if c.create = c.state("m.room.create", ""); c.create == nil {
		return next, refuse("no-create", "the room has no create event")
	}
	return next, nil
}

// judgeFederation keeps other servers out of a room that does not federate. The words look at the
// sender only; the servers about also refuse that a local user makes a remote one a member.
func judgeFederation(c *check) (verdict, error) {
	if c.create.Create().Federate {
		return next, nil
	}
	home := c.create.sender.Server()
	if c.e.sender.Server() != home {
		return next, refuse("federate", "the room is for users of %s only", home)
	}
	if c.e.typ == "m.room.member" && matrix.UserID(c.key).Server() != home {
		return next, refuse("federate", "the room is for users of %s only, so %s cannot be a member", home, c.key)
	}
	return next, nil
}

// judgeAliases lets a server tell its own aliases, whoever sends the event.
func judgeAliases(c *check) (verdict, error) {
	switch {
	case c.e.typ != "m.room.aliases":
		return next, nil
	case !c.isState:
		return next, refuse("aliases-state", "m.room.aliases must be a state event")
	case c.key != string(c.e.sender.Server()):
		return next, refuse("aliases-server", "you can set the aliases of your own server only")
	}
	return allow, nil
}

func needJoined(c *check) (verdict, error) {
	if c.membership(string(c.e.sender)) != matrix.Join {
		return next, refuse("not-joined", "you are not in the room")
	}
	return next, nil
}

func judgeThirdPartyInvite(c *check) (verdict, error) {
	if c.e.typ != "m.room.third_party_invite" {
		return next, nil
	}
	if err := c.needLevel("invite-level", c.levels().Invite(), "invite"); err != nil {
		return next, err
	}
	return allow, nil
}

func needPower(c *check) (verdict, error) {
	need := c.levels().Event(c.e.typ, c.isState)
	if c.own().AtLeast(need) {
		return next, nil
	}
	return next, c.needLevel("send-level", need, "send "+c.e.typ)
}

// needLevel refuses where the sender's power does not suffice for what they want to do.
func (c *check) needLevel(rule string, need Level, deed string) error {
	if own := c.own(); !own.AtLeast(need) {
		return refuse(rule, "you need power level %s to %s, you have %s", need, deed, own)
	}
	return nil
}

func needOwnKey(c *check) (verdict, error) {
	if c.e.version.OwnedKeys {
		return next, c.needKeyOfOwner()
	}
	if c.isState && len(c.key) > 0 && c.key[0] == '@' && c.key != string(c.e.sender) {
		return next, refuse("state-key", "a state key that begins with @ must be your own user ID")
	}
	return next, nil
}

// judgeRedaction is for the oldest versions, where a redaction is an event like others. One that names
// nothing does nothing, and is allowed by the servers about although the words refuse it.
func judgeRedaction(c *check) (verdict, error) {
	e := c.e
	if e.typ != "m.room.redaction" || e.redacts == "" || e.id.Server() == e.redacts.Server() {
		return next, nil
	}
	return next, c.needLevel("redact-level", c.levels().Redact(), "redact the events of others")
}
