package push

import (
	"slices"

	"astrocyte/matrix"
)

// Evaluator is the compiled rules of a user. It may be used by any number of goroutines.
type Evaluator struct {
	user      matrix.UserID
	override  []*compiled
	content   []*compiled
	post      []*compiled // PostContent
	rooms     map[matrix.RoomID]*compiled
	senders   map[matrix.UserID]*compiled
	underride []*compiled
}

// compiled is a rule that is enabled.
type compiled struct {
	conditions []condition
	outcome    Outcome
}

// Compile makes rules ready for use.
func Compile(user matrix.UserID, s *Ruleset) *Evaluator {
	v := &Evaluator{user: user, override: compileList(Override, s.Override), content: compileList(Content, s.Content),
		post: compileList(PostContent, s.PostContent), underride: compileList(Underride, s.Underride)}
	for i := range s.Room {
		if r := &s.Room[i]; r.Enabled {
			if v.rooms == nil {
				v.rooms = make(map[matrix.RoomID]*compiled)
			}
			v.rooms[matrix.RoomID(r.ID)] = compileRule(Room, r)
		}
	}
	for i := range s.Sender {
		if r := &s.Sender[i]; r.Enabled {
			if v.senders == nil {
				v.senders = make(map[matrix.UserID]*compiled)
			}
			v.senders[matrix.UserID(r.ID)] = compileRule(Sender, r)
		}
	}
	return v
}

func compileList(k Kind, list []Rule) []*compiled {
	var out []*compiled
	for i := range list {
		if r := &list[i]; r.Enabled {
			out = append(out, compileRule(k, r))
		}
	}
	return out
}

func compileRule(k Kind, r *Rule) *compiled {
	if r.shared != nil {
		return r.shared
	}
	c := &compiled{outcome: outcomeOf(r.ID, r.Actions)}
	switch {
	case k.conditional() && r.Conditions != nil:
		for _, raw := range *r.Conditions {
			c.conditions = append(c.conditions, compileCondition(raw))
		}
	case k == Content && r.Pattern != nil && *r.Pattern == self:
		c.conditions = []condition{{op: userName}}
	case k == Content && r.Pattern != nil:
		c.conditions = []condition{compileMatch("content.body", *r.Pattern)}
	case k == Content:
		c.conditions = []condition{{op: never}}
	}
	if r.Default && (r.ID == displayNameRule || r.ID == roomNotifRule || r.ID == userNameRule) {
		c.conditions = append(c.conditions, condition{op: mentionsNobody})
	}
	return c
}

// Evaluate finds the rule that an event matches first. Events of the user themself are for the caller to
// leave out: nobody is notified of what they did.
func (v *Evaluator) Evaluate(e *Event, f *Facts) Outcome {
	if c := v.find(e, f); c != nil {
		return c.outcome
	}
	return Outcome{}
}

func (v *Evaluator) find(e *Event, f *Facts) *compiled {
	if c := v.first(v.override, e, f); c != nil {
		return c
	}
	if c := v.first(v.content, e, f); c != nil {
		return c
	}
	if c := v.first(v.post, e, f); c != nil {
		return c
	}
	if c := v.rooms[e.room]; c != nil {
		return c
	}
	if c := v.senders[e.sender]; c != nil {
		return c
	}
	return v.first(v.underride, e, f)
}

func (v *Evaluator) first(list []*compiled, e *Event, f *Facts) *compiled {
next:
	for _, c := range list {
		for i := range c.conditions {
			if !c.conditions[i].holds(e, v.user, f) {
				continue next
			}
		}
		return c
	}
	return nil
}

// namesUser says whether any rule asks for the name of the user in the room.
func (v *Evaluator) namesUser() bool {
	for _, list := range [][]*compiled{v.override, v.underride} {
		for _, c := range list {
			if slices.ContainsFunc(c.conditions, func(c condition) bool { return c.op == displayName }) {
				return true
			}
		}
	}
	return false
}

// cost is about what an evaluator weighs in memory, in bytes.
func (v *Evaluator) cost() int64 {
	rules := len(v.override) + len(v.content) + len(v.post) + len(v.rooms) + len(v.senders) + len(v.underride)
	return int64(200 + 500*rules)
}
