package push

import (
	"bytes"
	"encoding/json"
	"slices"

	"astrocyte/matrix"
)

// Extras are rules that a server has besides those of the specification, where its settings say so.
type Extras struct {
	// LegacyMentions notifies users whose name stands in a message of a client that does not say whom it
	// mentions, by rules that version 1.17 of the specification has removed.
	LegacyMentions bool
	// Threads notifies users of the threads that they are subscribed to, and not of others. Extension: MSC4306.
	Threads bool
}

// Defaults are the rules of the server, in their order, with self where the user's id belongs. They are not
// stored, so that a new version of the server brings new ones.
//
// Spec: CS "Predefined Rules"; MSC3930 (polls), MSC3914 (calls).
type Defaults struct {
	lists map[Kind][]Rule
	plain *Evaluator // of a user who changed none
}

// NewDefaults makes the rules of a server. They are compiled once for all users.
func NewDefaults(with Extras) *Defaults {
	d := &Defaults{lists: map[Kind][]Rule{
		Override:  defaultOverride(with),
		Underride: defaultUnderride(),
	}}
	if with.LegacyMentions {
		name := self
		d.lists[Content] = []Rule{{ID: userNameRule, Default: true, Enabled: true, Actions: actions(notify, sound("default"), highlight), Pattern: &name}}
	}
	if with.Threads {
		d.lists[PostContent] = []Rule{
			preset(".io.element.msc4306.rule.unsubscribed_thread", actions(), subscribed(false)),
			preset(".io.element.msc4306.rule.subscribed_thread", actions(notify, sound("default")), subscribed(true)),
		}
	}
	for k, list := range d.lists {
		for i := range list {
			list[i].shared = compileRule(k, &list[i])
		}
	}
	d.plain = Compile("", &Ruleset{
		Override: d.lists[Override], Content: d.lists[Content], PostContent: d.lists[PostContent], Underride: d.lists[Underride],
	})
	return d
}

// The rules that look for names in the text. They leave out events that say whom they mention.
const (
	displayNameRule = ".m.rule.contains_display_name"
	roomNotifRule   = ".m.rule.roomnotif"
	userNameRule    = ".m.rule.contains_user_name"
)

func defaultOverride(with Extras) []Rule {
	list := []Rule{
		{ID: ".m.rule.master", Default: true, Actions: actions(), Conditions: &[]json.RawMessage{}},
		preset(".m.rule.suppress_notices", actions(), match("content.msgtype", "m.notice")),
		preset(".m.rule.invite_for_me", actions(notify, sound("default")),
			match("type", "m.room.member"), match("content.membership", "invite"), match("state_key", self)),
		preset(".m.rule.member_event", actions(), match("type", "m.room.member")),
		preset(".m.rule.is_user_mention", actions(notify, sound("default"), highlight),
			is("event_property_contains", `content.m\.mentions.user_ids`, self)),
	}
	if with.LegacyMentions {
		list = append(list, preset(displayNameRule, actions(notify, sound("default"), highlight),
			written(conditionJSON{Kind: "contains_display_name"})))
	}
	list = append(list, preset(".m.rule.is_room_mention", actions(notify, highlight),
		is("event_property_is", `content.m\.mentions.room`, true), permission("room")))
	if with.LegacyMentions {
		list = append(list, preset(roomNotifRule, actions(notify, highlight), match("content.body", "@room"), permission("room")))
	}
	return append(list,
		preset(".m.rule.tombstone", actions(notify, highlight), match("type", "m.room.tombstone"), match("state_key", "")),
		preset(".m.rule.reaction", actions(), match("type", "m.reaction")),
		preset(".m.rule.room.server_acl", actions(), match("type", "m.room.server_acl"), match("state_key", "")),
		preset(".m.rule.suppress_edits", actions(), is("event_property_is", `content.m\.relates_to.rel_type`, "m.replace")),
		preset(".org.matrix.msc3930.rule.poll_response", actions(), match("type", "org.matrix.msc3381.poll.response")),
	)
}

func defaultUnderride() []Rule {
	return []Rule{
		preset(".m.rule.call", actions(notify, sound("ring")), match("type", "m.call.invite")),
		preset(".m.rule.encrypted_room_one_to_one", actions(notify, sound("default")), pair(), match("type", "m.room.encrypted")),
		preset(".m.rule.room_one_to_one", actions(notify, sound("default")), pair(), match("type", "m.room.message")),
		preset(".m.rule.message", actions(notify), match("type", "m.room.message")),
		preset(".m.rule.encrypted", actions(notify), match("type", "m.room.encrypted")),
		preset(".org.matrix.msc3930.rule.poll_start_one_to_one", actions(notify, sound("default")), pair(), match("type", "org.matrix.msc3381.poll.start")),
		preset(".org.matrix.msc3930.rule.poll_start", actions(notify), match("type", "org.matrix.msc3381.poll.start")),
		preset(".org.matrix.msc3930.rule.poll_end_one_to_one", actions(notify, sound("default")), pair(), match("type", "org.matrix.msc3381.poll.end")),
		preset(".org.matrix.msc3930.rule.poll_end", actions(notify), match("type", "org.matrix.msc3381.poll.end")),
		preset(".org.matrix.msc3914.rule.room.call", actions(notify, sound("default")),
			match("type", "org.matrix.msc3401.call"), written(conditionJSON{Kind: "org.matrix.msc3914.call_started"})),
	}
}

// The actions that the rules above are made of.
const (
	notify    = `"notify"`
	highlight = `{"set_tweak":"highlight"}`
)

func sound(name string) string { return `{"set_tweak":"sound","value":"` + name + `"}` }

func actions(list ...string) []json.RawMessage {
	out := make([]json.RawMessage, len(list))
	for i, a := range list {
		out[i] = json.RawMessage(a)
	}
	return out
}

func preset(id string, actions []json.RawMessage, conditions ...json.RawMessage) Rule {
	return Rule{ID: id, Default: true, Enabled: true, Actions: actions, Conditions: &conditions}
}

// conditionJSON is a condition of the rules above.
type conditionJSON struct {
	Kind    string  `json:"kind"`
	Key     string  `json:"key,omitempty"`
	Pattern *string `json:"pattern,omitempty"`
	Value   any     `json:"value,omitempty"`
	Is      string  `json:"is,omitempty"`

	Subscribed *bool `json:"subscribed,omitempty"`
}

func written(c conditionJSON) json.RawMessage {
	out, err := json.Marshal(c)
	if err != nil {
		return nil
	}
	return out
}

func match(key, pattern string) json.RawMessage {
	return written(conditionJSON{Kind: "event_match", Key: key, Pattern: &pattern})
}

func is(kind, key string, value any) json.RawMessage {
	return written(conditionJSON{Kind: kind, Key: key, Value: value})
}

func permission(kind string) json.RawMessage {
	return written(conditionJSON{Kind: "sender_notification_permission", Key: kind})
}

// pair is for rooms of two.
func pair() json.RawMessage { return written(conditionJSON{Kind: "room_member_count", Is: "2"}) }

// subscribed is for events of threads that the user is subscribed to, or is not.
func subscribed(is bool) json.RawMessage {
	return written(conditionJSON{Kind: threadCondition, Subscribed: &is})
}

// standard are the rules of a server without extras.
var standard = tableOf(Extras{})

func tableOf(x Extras) *Defaults { return NewDefaults(x) }

// of are the rules of a kind; nil is the standard rules.
func (d *Defaults) of(k Kind) []Rule {
	if d == nil {
		d = standard
	}
	return d.lists[k]
}

// has says whether the server has a rule of this kind and id.
func (d *Defaults) has(k Kind, id string) bool {
	return slices.ContainsFunc(d.of(k), func(r Rule) bool { return r.ID == id })
}

// plainFor is the compiled rules of a user who changed none.
func (d *Defaults) plainFor(user matrix.UserID) *Evaluator {
	v := *d.plain
	v.user = user
	return &v
}

// defaultFor is a rule of the server for a user.
func defaultFor(r Rule, user matrix.UserID) Rule {
	if r.Pattern != nil {
		name := user.Localpart()
		r.Pattern = &name
		return r
	}
	conditions := slices.Clone(*r.Conditions)
	for i, c := range conditions {
		if bytes.Contains(c, selfJSON) {
			quoted, err := json.Marshal(user)
			if err == nil {
				conditions[i] = bytes.ReplaceAll(c, selfJSON, quoted)
			}
		}
	}
	r.Conditions = &conditions
	return r
}

// selfJSON is self as it stands in a written condition.
var selfJSON = []byte(`"\u0000self"`)
