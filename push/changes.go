package push

import (
	"encoding/json"
	"slices"

	"astrocyte/matrix"
)

// Changes are what a user made of the server's rules: their own rules, and what they set of the defaults.
// The zero value is no change.
type Changes struct {
	Own      map[Kind][]Rule         `json:"own,omitempty"`      // the most important first
	Defaults map[Kind]map[string]Set `json:"defaults,omitempty"` // by id

	server *Defaults // nil: the standard rules
}

// Set is what a user set of a default rule. What is nil is as the server has it.
type Set struct {
	Enabled *bool             `json:"enabled,omitempty"`
	Actions []json.RawMessage `json:"actions"`
}

// Rules are all rules of a user: the defaults with the changes. The master rule stands before all.
//
// Spec: CS "Push Rulesets", "Default Rules".
func (c *Changes) Rules(user matrix.UserID) *Ruleset {
	s := new(Ruleset)
	for _, k := range kinds {
		defaults := c.server.of(k)
		list := make([]Rule, 0, len(c.Own[k])+len(defaults))
		if k == Override {
			list = append(list, c.preset(k, defaults[0], user))
			defaults = defaults[1:]
		}
		list = append(list, c.Own[k]...)
		for _, r := range defaults {
			list = append(list, c.preset(k, r, user))
		}
		*s.Of(k) = list
	}
	return s
}

// preset is a default rule with what the user set of it.
func (c *Changes) preset(k Kind, r Rule, user matrix.UserID) Rule {
	r = defaultFor(r, user)
	set, ok := c.Defaults[k][r.ID]
	if ok && set.Enabled != nil {
		r.Enabled = *set.Enabled
	}
	if ok && set.Actions != nil {
		r.Actions, r.shared = set.Actions, nil
	}
	return r
}

func (c *Changes) find(k Kind, id string) int {
	return slices.IndexFunc(c.Own[k], func(r Rule) bool { return r.ID == id })
}

func missing() error { return matrix.NotFound("there is no such push rule") }

// Put adds a rule, or replaces the one of the same id, which stays enabled or disabled. before and after
// name the user's rule before or behind which it shall stand; with neither, a new rule stands first and
// an old one where it is.
//
// Spec: PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
func (c *Changes) Put(k Kind, r Rule, before, after string) error {
	if r.ID != "" && r.ID[0] != '.' {
		r.normalize(k)
	}
	if err := r.check(k); err != nil {
		return err
	}
	if k == PostContent {
		return matrix.InvalidParam("the rules of the kind %s are the server's own", k)
	}
	list := slices.Clone(c.Own[k])
	at, move := 0, before != "" || after != ""
	if old := c.find(k, r.ID); old >= 0 {
		r.Enabled, at = list[old].Enabled, old
		list = slices.Delete(list, old, old+1)
	} else if c.count() >= maxRules {
		return matrix.E(matrix.CodeResourceLimitExceeded, "a user cannot have more than %d push rules", maxRules)
	}
	if move {
		var err error
		if at, err = place(list, before, after); err != nil {
			return err
		}
	}
	if c.Own == nil {
		c.Own = make(map[Kind][]Rule)
	}
	c.Own[k] = slices.Insert(list, at, r)
	return nil
}

// normalize leaves what rules of the kind have.
func (r *Rule) normalize(k Kind) {
	r.Default, r.Enabled, r.shared = false, true, nil
	if k != Content {
		r.Pattern = nil
	}
	switch {
	case !k.conditional():
		r.Conditions = nil
	case r.Conditions == nil || *r.Conditions == nil:
		r.Conditions = &[]json.RawMessage{}
	}
}

// place finds where in the list a rule goes.
func place(list []Rule, before, after string) (int, error) {
	want := before
	if want == "" {
		want = after
	}
	i := slices.IndexFunc(list, func(r Rule) bool { return r.ID == want })
	if i < 0 {
		return 0, matrix.E(matrix.CodeUnknown, "before/after rule not found: %s", want).WithStatus(400)
	}
	if before == "" {
		i++
	}
	return i, nil
}

func (c *Changes) count() int {
	n := 0
	for _, list := range c.Own {
		n += len(list)
	}
	return n
}

// Delete removes a rule of the user.
func (c *Changes) Delete(k Kind, id string) error {
	i := c.find(k, id)
	switch {
	case i >= 0:
		c.Own[k] = slices.Delete(slices.Clone(c.Own[k]), i, i+1)
		return nil
	case c.server.has(k, id):
		return matrix.InvalidParam("rules of the server can be disabled, not deleted")
	}
	return missing()
}

// SetEnabled switches a rule on or off.
func (c *Changes) SetEnabled(k Kind, id string, enabled bool) error {
	return c.change(k, id, func(r *Rule) { r.Enabled = enabled }, func(s *Set) { s.Enabled = &enabled })
}

// SetActions changes what a rule does.
func (c *Changes) SetActions(k Kind, id string, actions []json.RawMessage) error {
	if err := CheckActions(actions); err != nil {
		return err
	}
	return c.change(k, id, func(r *Rule) { r.Actions = actions }, func(s *Set) { s.Actions = actions })
}

// change changes a rule of the user, or what they set of a default.
func (c *Changes) change(k Kind, id string, own func(*Rule), preset func(*Set)) error {
	if i := c.find(k, id); i >= 0 {
		c.Own[k] = slices.Clone(c.Own[k])
		own(&c.Own[k][i])
		return nil
	}
	if !c.server.has(k, id) {
		return missing()
	}
	set := c.Defaults[k][id]
	preset(&set)
	if c.Defaults == nil {
		c.Defaults = make(map[Kind]map[string]Set)
	}
	if c.Defaults[k] == nil {
		c.Defaults[k] = make(map[string]Set)
	}
	c.Defaults[k][id] = set
	return nil
}
