package push

import "encoding/json"

// Outcome is what the rules say of an event.
type Outcome struct {
	Rule      string // that decided; empty where none matched
	Notify    bool
	Highlight bool
	Sound     string            // empty: none
	Actions   []json.RawMessage // as the rule has them
}

// tweak is an action that is an object.
type tweak struct {
	Set   string          `json:"set_tweak"`
	Value json.RawMessage `json:"value"`
}

// readAction reads an action: a word, or a tweak.
func readAction(a json.RawMessage) (word string, t tweak) {
	if len(a) > 0 && a[0] == '"' {
		if json.Unmarshal(a, &word) != nil {
			return "", tweak{}
		}
		return word, tweak{}
	}
	if json.Unmarshal(a, &t) != nil {
		return "", tweak{}
	}
	return "", t
}

// outcomeOf is what a list of actions comes to. Only notify notifies; dont_notify and coalesce, which old
// clients send, and unknown ones mean nothing.
//
// Spec: CS "Actions".
func outcomeOf(id string, actions []json.RawMessage) Outcome {
	o := Outcome{Rule: id, Actions: actions}
	for _, a := range actions {
		word, t := readAction(a)
		switch {
		case word == "notify":
			o.Notify = true
		case t.Set == "highlight":
			o.Highlight = string(t.Value) != "false"
		case t.Set == "sound":
			if json.Unmarshal(t.Value, &o.Sound) != nil {
				o.Sound = ""
			}
		}
	}
	if !o.Notify {
		o.Highlight, o.Sound = false, ""
	}
	return o
}
