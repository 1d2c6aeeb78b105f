package syncapi

import (
	"encoding/json"
	"slices"
	"strings"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// memberEvent is the type of what is loaded lazily.
const memberEvent = "m.room.member"

// stateWish is what a client wants to know of the state of a room.
type stateWish struct {
	Include []statePart `json:"i,omitempty"`
	Exclude []statePart `json:"x,omitempty"`
	Lazy    bool        `json:"l,omitempty"` // the members that it needs to show the rest
}

// statePart is some of a state. What is nil stands for anything.
type statePart struct {
	Type *string  `json:"t,omitempty"`
	Key  *string  `json:"k,omitempty"`
	But  []string `json:"b,omitempty"` // types that are not meant by any type
}

func (p *statePart) matches(tp, key string) bool {
	switch {
	case p.Type != nil && *p.Type != tp, p.Key != nil && *p.Key != key:
		return false
	}
	return !slices.Contains(p.But, tp)
}

func matchesPart(parts []statePart, tp, key string) bool {
	return slices.ContainsFunc(parts, func(p statePart) bool { return p.matches(tp, key) })
}

func (w *stateWish) matches(tp, key string) bool {
	return matchesPart(w.Include, tp, key) && !matchesPart(w.Exclude, tp, key)
}

// wishes are what the lists and subscriptions that show a room want to know of its state: all of it that any
// of them does. They are not changed once they are made.
type wishes struct {
	all []stateWish
	key string // the same for the same wishes
	// what the parts come to:
	lazy  bool
	exact []rules.StateKey // single pieces
	scan  bool             // some parts are not single pieces
	every bool             // some may be about all members
}

// wishesOf joins what several want. Each stands once, in an order that does not depend on who asked first.
func wishesOf(list []stateWish) *wishes {
	w := &wishes{}
	seen := make(map[string]stateWish)
	var keys []string
	for _, one := range list {
		text, err := json.Marshal(one)
		if err != nil {
			continue // it is made of strings, which always have a JSON form
		}
		if _, known := seen[string(text)]; !known {
			seen[string(text)] = one
			keys = append(keys, string(text))
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		w.all = append(w.all, seen[k])
	}
	w.key = "[" + strings.Join(keys, ",") + "]"
	w.sum()
	return w
}

// parseWishes reads the key of wishes.
func parseWishes(key string) (*wishes, error) {
	var list []stateWish
	if err := json.Unmarshal([]byte(key), &list); err != nil {
		return nil, err
	}
	return wishesOf(list), nil
}

func (w *wishes) sum() {
	for _, one := range w.all {
		w.lazy = w.lazy || one.Lazy
		for _, p := range one.Include {
			switch {
			case p.Type != nil && p.Key != nil:
				w.exact = append(w.exact, rules.StateKey{Type: *p.Type, Key: *p.Key})
			case p.Type != nil:
				w.scan, w.every = w.scan || *p.Type != memberEvent, w.every || *p.Type == memberEvent
			default:
				w.scan = true
				w.every = w.every || p.Key == nil && !slices.Contains(p.But, memberEvent)
				if p.Key != nil {
					w.exact = append(w.exact, rules.StateKey{Type: memberEvent, Key: *p.Key})
				}
			}
		}
	}
}

func (w *wishes) matches(key rules.StateKey) bool {
	return slices.ContainsFunc(w.all, func(one stateWish) bool { return one.matches(key.Type, key.Key) })
}

// unstablePart reads a pair of type and state key as clients write it today: a star stands for anything, $ME for
// the user, and $LAZY for the members that are needed.
func (w *stateWish) addPair(tp, key string, user matrix.UserID) {
	if tp == memberEvent && key == "$LAZY" {
		w.Lazy = true
		return
	}
	if key == "$ME" {
		key = string(user)
	}
	p := statePart{}
	if tp != "*" {
		p.Type = &tp
	}
	if key != "*" {
		p.Key = &key
	}
	w.Include = append(w.Include, p)
}

// narrow makes the pair of two stars mean less where there are others: of types that others name, only what
// they name.
//
// Spec: MSC3575 (required_state).
func (w *stateWish) narrow() {
	i := slices.IndexFunc(w.Include, func(p statePart) bool { return p.Type == nil && p.Key == nil })
	if i < 0 {
		return
	}
	var but []string
	if w.Lazy {
		but = append(but, memberEvent)
	}
	for _, p := range w.Include {
		if p.Type != nil && p.Key != nil && !slices.Contains(but, *p.Type) {
			but = append(but, *p.Type)
		}
	}
	slices.Sort(but)
	w.Include[i].But = but
}
