package push

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

const alice = matrix.UserID("@alice:example.org")

func contentRule(id, pattern string) Rule {
	return Rule{ID: id, Actions: actions(notify), Pattern: &pattern}
}

func ids(list []Rule) []string {
	var out []string
	for _, r := range list {
		out = append(out, r.ID)
	}
	return out
}

func TestRulesOfAUserStandInTheirOrder(t *testing.T) {
	t.Parallel()
	c := new(Changes)
	for _, step := range []struct{ id, before, after string }{
		{"a", "", ""}, {"b", "", ""}, {"c", "a", ""}, {"d", "", "a"}, {"b", "", "c"}, {"e", "a", "d"}, {"d", "", ""},
	} {
		if err := c.Put(Content, contentRule(step.id, "x"), step.before, step.after); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := ids(c.Rules(alice).Content), []string{"c", "b", "e", "a", "d"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
	if err := c.Delete(Content, "e"); err != nil {
		t.Fatal(err)
	}
	if got, want := ids(c.Rules(alice).Content), []string{"c", "b", "a", "d"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
	if err := c.Put(Override, Rule{ID: "mine", Actions: actions()}, "", ""); err != nil {
		t.Fatal(err)
	}
	if got := ids(c.Rules(alice).Override)[:3]; !slices.Equal(got, []string{".m.rule.master", "mine", ".m.rule.suppress_notices"}) {
		t.Errorf("the override rules begin with %v", got)
	}
}

func TestRulesAreRefused(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		kind          Kind
		rule          Rule
		before, after string
		code          matrix.Code
	}{
		"the server's id":      {Content, contentRule(".m.rule.mine", "x"), "", "", matrix.CodeInvalidParam},
		"no id":                {Content, contentRule("", "x"), "", "", matrix.CodeInvalidParam},
		"a slash":              {Content, contentRule("a/b", "x"), "", "", matrix.CodeInvalidParam},
		"a backslash":          {Content, contentRule(`a\b`, "x"), "", "", matrix.CodeInvalidParam},
		"no actions":           {Content, Rule{ID: "a", Pattern: text("x")}, "", "", matrix.CodeMissingParam},
		"no pattern":           {Content, Rule{ID: "a", Actions: actions()}, "", "", matrix.CodeInvalidParam},
		"an unknown action":    {Room, Rule{ID: "!a:b", Actions: actions(`"sing"`)}, "", "", matrix.CodeInvalidParam},
		"an action of no kind": {Room, Rule{ID: "!a:b", Actions: actions(`5`)}, "", "", matrix.CodeInvalidParam},
		"an unknown neighbour": {Content, contentRule("a", "x"), "nobody", "", matrix.CodeUnknown},
		"the server's rule":    {Override, Rule{ID: "a", Actions: actions()}, "", ".m.rule.master", matrix.CodeUnknown},
		"a condition sans kind": {Override, Rule{ID: "a", Actions: actions(), Conditions: &[]json.RawMessage{[]byte(`{"key":"x"}`)}},
			"", "", matrix.CodeInvalidParam},
	} {
		var fault *matrix.Error
		if err := new(Changes).Put(c.kind, c.rule, c.before, c.after); !errors.As(err, &fault) || fault.Code != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

func TestDefaultsAreChangedAndKept(t *testing.T) {
	t.Parallel()
	c := new(Changes)
	for _, err := range []error{
		c.SetEnabled(Override, ".m.rule.master", true),
		c.SetActions(Underride, ".m.rule.message", actions()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stored, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again := new(Changes)
	if err := json.Unmarshal(stored, again); err != nil {
		t.Fatal(err)
	}
	rules := again.Rules(alice)
	if r := rules.Find(Override, ".m.rule.master"); !r.Enabled || r.Actions == nil {
		t.Errorf("the master rule is %+v", r)
	}
	message := AboutJSON([]byte(`{"content":{"body":"hi"},"sender":"@bob:example.org","type":"m.room.message"}`))
	if o := Compile(alice, rules).Evaluate(message, new(Facts)); o.Rule != ".m.rule.master" {
		t.Errorf("with the master rule enabled %q decides", o.Rule)
	}
	if err := again.SetEnabled(Override, ".m.rule.master", false); err != nil {
		t.Fatal(err)
	}
	if o := Compile(alice, again.Rules(alice)).Evaluate(message, new(Facts)); o.Rule != ".m.rule.message" || o.Notify {
		t.Errorf("without actions the rule says %+v", o)
	}
	if err := again.Delete(Override, ".m.rule.master"); err == nil {
		t.Error("a rule of the server was deleted")
	}
	if err := again.SetEnabled(Override, ".m.rule.nothing", true); err == nil {
		t.Error("a rule that is not there was enabled")
	}
	for _, k := range kinds {
		for _, r := range NewDefaults(Extras{LegacyMentions: true, Threads: true}).of(k) {
			if r.Conditions == nil {
				continue
			}
			for _, condition := range *r.Conditions {
				if compiled := compileCondition(condition); compiled.op == never && r.ID != ".org.matrix.msc3914.rule.room.call" {
					t.Errorf("%s has a condition that never matches: %s", r.ID, condition)
				}
			}
		}
	}
}

func TestMentionIsOfTheUserThemself(t *testing.T) {
	t.Parallel()
	event := AboutJSON([]byte(`{"content":{"body":"hi","m.mentions":{"user_ids":["@alice:example.org"]}},"sender":"@bob:example.org","type":"m.room.message"}`))
	for user, want := range map[matrix.UserID]bool{alice: true, "@bob:example.org": false} {
		rules := new(Changes).Rules(user)
		if o := Compile(user, rules).Evaluate(event, new(Facts)); o.Highlight != want {
			t.Errorf("%s: %+v", user, o)
		}
		for i := range rules.Override {
			rules.Override[i].shared = nil // as if the user had changed the actions
		}
		if o := Compile(user, rules).Evaluate(event, new(Facts)); o.Highlight != want {
			t.Errorf("%s, by rules of their own: %+v", user, o)
		}
	}
}

// FuzzRuleset takes any JSON for rules and for an event.
func FuzzRuleset(f *testing.F) {
	defaults, err := json.Marshal(new(Changes).Rules(alice))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(defaults, []byte(`{"content":{"body":"alice","m.mentions":{"user_ids":["@alice:example.org"],"room":true}},"sender":"@b:c","type":"m.room.message"}`))
	f.Add([]byte(`{"override":[{"rule_id":"a","enabled":true,"actions":[{"set_tweak":"sound","value":5}],"conditions":[{"kind":"event_match","key":"content.a\\.b","pattern":"?*"}]}]}`),
		[]byte(`{"content":{"a.b":"x"}}`))
	f.Add([]byte(`{"content":[{"rule_id":"a","enabled":true,"actions":["notify"],"pattern":"*a?"}],"room":null}`), []byte(`{"content":[]}`))
	f.Fuzz(func(t *testing.T, rules, event []byte) {
		var s Ruleset
		canonical, err := canonicaljson.Canonical(nil, event, canonicaljson.Loose)
		if err != nil || json.Unmarshal(rules, &s) != nil {
			return
		}
		v, facts := Compile(alice, &s), &Facts{Members: 2, DisplayName: "Alice"}
		o := v.Evaluate(AboutJSON(canonical), facts)
		if !o.Notify && (o.Highlight || o.Sound != "") {
			t.Errorf("tweaks without a notification: %+v", o)
		}
		again, err := json.Marshal(&s)
		if err != nil {
			t.Fatalf("rules that were read cannot be written: %v", err)
		}
		var back Ruleset
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatal(err)
		}
		if p := Compile(alice, &back).Evaluate(AboutJSON(canonical), facts); p.Rule != o.Rule || p.Notify != o.Notify {
			t.Errorf("rules that were written and read again say %+v, not %+v", p, o)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	v := Compile(alice, new(Changes).Rules(alice))
	e := AboutJSON([]byte(`{"auth_events":["$a","$b","$c"],"content":{"body":"just some message, as there are many","msgtype":"m.text"},"sender":"@bob:example.org","type":"m.room.message"}`))
	facts := &Facts{Members: 10}
	b.ReportAllocs()
	for b.Loop() {
		if o := v.Evaluate(e, facts); o.Rule != ".m.rule.message" {
			b.Fatal(o)
		}
	}
}

// TestLegacyMentions has events whose clients do not say whom they mention, and one that does.
func TestLegacyMentions(t *testing.T) {
	t.Parallel()
	const alice = matrix.UserID("@alice:example.org")
	rules := (&Changes{server: NewDefaults(Extras{LegacyMentions: true})}).Rules(alice)
	if p := rules.Content[0].Pattern; p == nil || *p != "alice" {
		t.Errorf("the rule for the user's name is %+v", rules.Content[0])
	}
	facts := &Facts{Members: 3, DisplayName: "The Queen", MayNotify: func(matrix.UserID, string) bool { return true }}
	tests := []struct{ name, content, rule string }{
		{"the user's name", `"body":"is @alice:example.org there?"`, ".m.rule.contains_user_name"},
		{"the user's name in other letters", `"body":"ALICE!"`, ".m.rule.contains_user_name"},
		{"a part of a word", `"body":"malice"`, ".m.rule.message"},
		{"the display name", `"body":"long live the queen"`, ".m.rule.contains_display_name"},
		{"the room", `"body":"hear, @room"`, ".m.rule.roomnotif"},
		{"mentions of nobody", `"body":"alice, the queen, @room","m.mentions":{}`, ".m.rule.message"},
		{"mentions", `"body":"you","m.mentions":{"user_ids":["@alice:example.org"]}`, ".m.rule.is_user_mention"},
	}
	for _, tt := range tests {
		e := AboutJSON([]byte(`{"content":{` + tt.content + `},"sender":"@bob:example.org","type":"m.room.message"}`))
		for how, v := range map[string]*Evaluator{"compiled": Compile(alice, rules), "plain": NewDefaults(Extras{LegacyMentions: true}).plainFor(alice)} {
			if o := v.Evaluate(e, facts); o.Rule != tt.rule {
				t.Errorf("%s, %s: the rule is %s, want %s", tt.name, how, o.Rule, tt.rule)
			}
		}
		if o := Compile(alice, new(Changes).Rules(alice)).Evaluate(e, facts); o.Rule != ".m.rule.message" && o.Rule != ".m.rule.is_user_mention" {
			t.Errorf("%s: without the setting the rule is %s", tt.name, o.Rule)
		}
	}
}

func TestThreadRules(t *testing.T) {
	t.Parallel()
	const alice = matrix.UserID("@alice:example.org")
	server := NewDefaults(Extras{Threads: true})
	c := &Changes{server: server}
	if err := c.Put(PostContent, Rule{ID: "mine", Actions: []json.RawMessage{}}, "", ""); err == nil {
		t.Error("a user made a rule of the server's kind")
	}
	quiet := &Changes{server: server}
	if err := quiet.Put(Room, Rule{ID: "!room:example.org", Actions: []json.RawMessage{}}, "", ""); err != nil {
		t.Fatal(err)
	}
	facts := &Facts{Members: 3, Subscribed: func(thread matrix.EventID) bool { return thread == "$mine" }}
	tests := []struct {
		name, content, rule string
		changes             *Changes
		notify              bool
	}{
		{"a thread that is followed", `"m.relates_to":{"rel_type":"m.thread","event_id":"$mine"}`, ".io.element.msc4306.rule.subscribed_thread", c, true},
		{"the same in a silent room", `"m.relates_to":{"rel_type":"m.thread","event_id":"$mine"}`, ".io.element.msc4306.rule.subscribed_thread", quiet, true},
		{"another thread", `"m.relates_to":{"rel_type":"m.thread","event_id":"$other"}`, ".io.element.msc4306.rule.unsubscribed_thread", c, false},
		{"a mention in another thread", `"m.mentions":{"user_ids":["@alice:example.org"]},"m.relates_to":{"rel_type":"m.thread","event_id":"$other"}`,
			".m.rule.is_user_mention", c, true},
		{"no thread", `"body":"x"`, ".m.rule.message", c, true},
		{"an edit", `"m.relates_to":{"rel_type":"m.reference","event_id":"$mine"}`, ".m.rule.message", c, true},
	}
	for _, tt := range tests {
		e := AboutJSON([]byte(`{"content":{` + tt.content + `},"room_id":"!room:example.org","sender":"@bob:example.org","type":"m.room.message"}`))
		if o := Compile(alice, tt.changes.Rules(alice)).Evaluate(e, facts); o.Rule != tt.rule || o.Notify != tt.notify {
			t.Errorf("%s: the rule is %s, which notifies: %v", tt.name, o.Rule, o.Notify)
		}
	}
	if list := new(Changes).Rules(alice).PostContent; len(list) != 0 {
		t.Errorf("without the setting there are %v", list)
	}
}
