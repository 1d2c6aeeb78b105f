package push

import (
	"encoding/json"
	"slices"
	"strings"

	"astrocyte/matrix"
)

// Kind is a kind of push rules. Rules of a kind come in one order; kinds are tried one after another.
type Kind string

// The kinds, in the order in which they are tried.
const (
	Override Kind = "override"
	Content  Kind = "content"
	// PostContent has rules of the server only. Extension: MSC4306.
	PostContent Kind = "postcontent"
	Room        Kind = "room"
	Sender      Kind = "sender"
	Underride   Kind = "underride"
)

// kinds are all kinds in their order.
var kinds = [...]Kind{Override, Content, PostContent, Room, Sender, Underride}

// ParseKind reads the name of a kind.
func ParseKind(s string) (Kind, error) {
	if slices.Contains(kinds[:], Kind(s)) {
		return Kind(s), nil
	}
	return "", matrix.E(matrix.CodeUnrecognized, "%q is no kind of push rules", s)
}

// conditional says that rules of the kind have conditions; the others say in one word what they match.
func (k Kind) conditional() bool { return k == Override || k == PostContent || k == Underride }

// Rule is a push rule as clients see it.
type Rule struct {
	ID      string            `json:"rule_id"`
	Default bool              `json:"default"`
	Enabled bool              `json:"enabled"`
	Actions []json.RawMessage `json:"actions"`
	// Conditions are of override and underride rules only, and present there even when empty.
	Conditions *[]json.RawMessage `json:"conditions,omitempty"`
	// Pattern is of content rules only.
	Pattern *string `json:"pattern,omitempty"`

	shared *compiled // of a default as it is
}

// Ruleset is all rules of a user, by kind, the most important first.
type Ruleset struct {
	Override    []Rule `json:"override"`
	Content     []Rule `json:"content"`
	PostContent []Rule `json:"postcontent,omitempty"`
	Room        []Rule `json:"room"`
	Sender      []Rule `json:"sender"`
	Underride   []Rule `json:"underride"`
}

// Of is the list of a kind.
func (s *Ruleset) Of(k Kind) *[]Rule {
	switch k {
	case Override:
		return &s.Override
	case Content:
		return &s.Content
	case PostContent:
		return &s.PostContent
	case Room:
		return &s.Room
	case Sender:
		return &s.Sender
	}
	return &s.Underride
}

// Find gives a rule, nil if there is none of this kind and id.
func (s *Ruleset) Find(k Kind, id string) *Rule {
	list := *s.Of(k)
	i := slices.IndexFunc(list, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// Bounds of what a user may set.
const (
	maxRules     = 5000 // of a user
	maxRuleID    = 512  // bytes
	maxPattern   = 1024 // bytes
	maxRuleBytes = 16 << 10
	maxParts     = 64 // conditions, actions
)

// check refuses what no rule of a user may be.
//
// Spec: PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
func (r *Rule) check(k Kind) error {
	switch {
	case r.ID == "" || len(r.ID) > maxRuleID:
		return matrix.InvalidParam("the id of a push rule has 1 to %d bytes", maxRuleID)
	case r.ID[0] == '.':
		return matrix.InvalidParam("ids of push rules that begin with a dot belong to the server")
	case strings.ContainsAny(r.ID, `/\`):
		return matrix.InvalidParam(`the id of a push rule has no / and no \`)
	case k == Content && (r.Pattern == nil || len(*r.Pattern) > maxPattern):
		return matrix.InvalidParam("a content rule needs a pattern of up to %d bytes", maxPattern)
	}
	if r.Conditions != nil {
		if err := checkConditions(*r.Conditions); err != nil {
			return err
		}
	}
	return CheckActions(r.Actions)
}

// CheckActions refuses what no list of actions may be.
//
// Spec: CS "Actions".
func CheckActions(actions []json.RawMessage) error {
	if actions == nil {
		return matrix.MissingParam("a push rule needs actions")
	}
	if len(actions) > maxParts {
		return matrix.InvalidParam("a push rule cannot have more than %d actions", maxParts)
	}
	size := 0
	for _, a := range actions {
		if size += len(a); size > maxRuleBytes {
			return matrix.E(matrix.CodeTooLarge, "a push rule cannot be larger than %d bytes", maxRuleBytes)
		}
		switch word, tweak := readAction(a); {
		case word == "notify" || word == "dont_notify" || word == "coalesce":
		case word == "" && tweak.Set != "":
		default:
			return matrix.InvalidParam("a push rule has an action that is none")
		}
	}
	return nil
}

func checkConditions(conditions []json.RawMessage) error {
	if len(conditions) > maxParts {
		return matrix.InvalidParam("a push rule cannot have more than %d conditions", maxParts)
	}
	size := 0
	for _, c := range conditions {
		if size += len(c); size > maxRuleBytes {
			return matrix.E(matrix.CodeTooLarge, "a push rule cannot be larger than %d bytes", maxRuleBytes)
		}
		var with struct{ Kind string }
		if json.Unmarshal(c, &with) != nil || with.Kind == "" {
			return matrix.InvalidParam("a condition of a push rule needs a kind")
		}
	}
	return nil
}
