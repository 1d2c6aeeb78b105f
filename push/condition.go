package push

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/matrix/glob"
)

// Facts are what rules ask besides the event.
type Facts struct {
	Members     int64  // joined members of the room
	DisplayName string // of the user in the room; empty: none
	// MayNotify says whether the sender has the power for a notification of a kind, such as room. nil:
	// not known, which is no.
	MayNotify func(sender matrix.UserID, kind string) bool
	// Subscribed says whether the user is subscribed to a thread. nil: to none.
	Subscribed func(thread matrix.EventID) bool
}

// condition is a compiled condition.
type condition struct {
	op    op
	self  bool   // pattern or value is the id of the user whose rules these are
	field field  // of the event
	key   string // of sender_notification_permission
	glob  *glob.Pattern
	value []byte // canonical JSON
	want  bool   // of thread_subscription
	least int64  // of room_member_count: least and most, both included
	most  int64
}

type op int

const (
	never op = iota // unknown or malformed
	eventMatch
	wordMatch // event_match on content.body
	propertyIs
	propertyContains
	displayName
	memberCount
	senderPermission
	threadSubscription
	userName       // the local part of the user's id stands in the body
	mentionsNobody // the event does not say whom it mentions, or that it mentions nobody
)

// threadCondition is the kind of the conditions on threads. Extension: MSC4306.
const threadCondition = "io.element.msc4306.thread_subscription"

// self stands in the default rules where the id of the user belongs.
const self = "\x00self"

// compileCondition reads a condition. One that is not understood never matches.
//
// Spec: CS "Conditions".
func compileCondition(raw json.RawMessage) condition {
	var in struct {
		Kind    string
		Key     *string
		Pattern *string
		Is      string
		Value   json.RawMessage

		Subscribed *bool
	}
	if json.Unmarshal(raw, &in) != nil {
		return condition{}
	}
	switch in.Kind {
	case "contains_display_name":
		return condition{op: displayName}
	case "room_member_count":
		return compileCount(in.Is)
	case threadCondition:
		if in.Subscribed != nil {
			return condition{op: threadSubscription, want: *in.Subscribed}
		}
	}
	if in.Key == nil {
		return condition{}
	}
	switch in.Kind {
	case "event_match":
		if in.Pattern != nil {
			return compileMatch(*in.Key, *in.Pattern)
		}
	case "event_property_is":
		return compileProperty(propertyIs, *in.Key, in.Value)
	case "event_property_contains":
		return compileProperty(propertyContains, *in.Key, in.Value)
	case "sender_notification_permission":
		return condition{op: senderPermission, key: *in.Key}
	}
	return condition{}
}

func compileMatch(key, pattern string) condition {
	c := condition{op: eventMatch, field: parseField(key)}
	if pattern == self {
		c.self = true
		return c
	}
	if key == "content.body" {
		c.op = wordMatch
	}
	c.glob = glob.Compile(pattern)
	return c
}

func compileProperty(o op, key string, value json.RawMessage) condition {
	canonical, err := canonicaljson.Canonical(nil, value, canonicaljson.Strict)
	if err != nil || len(canonical) == 0 || canonical[0] == '{' || canonical[0] == '[' {
		return condition{}
	}
	text, isText := canonicaljson.Text(canonical)
	return condition{op: o, field: parseField(key), value: canonical, self: isText && text == self}
}

// compileCount reads a number with a comparison before it.
func compileCount(is string) condition {
	const lots = 1 << 62
	digits := strings.TrimLeft(is, "<>=")
	n, err := strconv.ParseUint(digits, 10, 62)
	if err != nil {
		return condition{} // without digits, or more than there can be members
	}
	c := condition{op: memberCount, least: int64(n), most: int64(n)}
	switch is[:len(is)-len(digits)] {
	case "", "==":
	case "<":
		c.least, c.most = 0, c.most-1
	case "<=":
		c.least = 0
	case ">":
		c.least, c.most = c.least+1, lots
	case ">=":
		c.most = lots
	default:
		return condition{}
	}
	return c
}

func (c *condition) holds(e *Event, user matrix.UserID, f *Facts) bool {
	switch c.op {
	case eventMatch, wordMatch:
		text, ok := e.text(&c.field)
		switch {
		case !ok:
			return false
		case c.self:
			return text == string(user)
		case c.op == wordMatch:
			return c.glob.MatchWords(text)
		}
		return c.glob.Match(text)
	case propertyIs:
		value, ok := e.value(&c.field)
		return ok && c.equals(value, user)
	case propertyContains:
		return c.contained(e, user)
	case displayName:
		return e.says(f.DisplayName)
	case userName:
		return e.says(user.Localpart())
	case mentionsNobody:
		_, told := e.value(&field{first: "content", rest: []string{"m.mentions"}})
		return !told
	case threadSubscription:
		thread := e.thread()
		return thread != "" && (f.Subscribed != nil && f.Subscribed(thread)) == c.want
	case memberCount:
		return f.Members >= c.least && f.Members <= c.most
	case senderPermission:
		return f.MayNotify != nil && f.MayNotify(e.sender, c.key)
	}
	return false
}

// equals compares a value of the event. Both are canonical, so that equal values are equal bytes.
func (c *condition) equals(value []byte, user matrix.UserID) bool {
	if !c.self {
		return string(value) == string(c.value)
	}
	if len(value) == len(user)+2 && value[0] == '"' && string(value[1:len(value)-1]) == string(user) {
		return true
	}
	text, ok := canonicaljson.Text(value)
	return ok && text == string(user)
}

func (c *condition) contained(e *Event, user matrix.UserID) bool {
	list, ok := e.value(&c.field)
	if !ok {
		return false
	}
	w := canonicaljson.WalkArray(list)
	for w.Next() {
		if c.equals(w.Value(), user) {
			return true
		}
	}
	return false
}

// field is a path into an event.
type field struct {
	first string
	rest  []string
}

// parseField reads a path: names with dots between; \. is a dot and \\ a backslash within a name.
//
// Spec: Appendices "Dot-separated property paths".
func parseField(key string) field {
	var names []string
	var name strings.Builder
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c == '\\' && i+1 < len(key) && (key[i+1] == '.' || key[i+1] == '\\'):
			i++
			name.WriteByte(key[i])
		case c == '.':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	names = append(names, name.String())
	return field{names[0], slices.Clip(names[1:])}
}
