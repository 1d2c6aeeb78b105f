package rules_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

const (
	bob   = matrix.UserID("@bob:b.example")
	carol = matrix.UserID("@carol:a.example")
)

// TestRefusals: what a user is told who may not do something. All that is decided is in the vectors.
func TestRefusals(t *testing.T) {
	t.Parallel()
	empty, own, others := "", string(bob), "@else:b.example"
	for _, c := range []struct {
		name, levels string
		tp           string
		key          *string
		content      string
		rule, why    string
	}{
		{
			"no power for a name", `{"users":{"@alice:a.example":100}}`, "m.room.name", &empty, `{"name":"x"}`,
			"send-level", "you need power level 50 to send m.room.name, you have 0",
		},
		{
			"no power for a message", `{"users":{"@bob:b.example":-1}}`, "m.room.message", nil, `{"body":"x"}`,
			"send-level", "you need power level 0 to send m.room.message, you have -1",
		},
		{
			"a state key of another", `{"state_default":0}`, "org.example", &others, `{}`,
			"state-key", "a state key that begins with @ must be your own user ID",
		},
		{"a state key of one's own", `{"state_default":0}`, "org.example", &own, `{}`, "", ""},
		{
			"a promotion", `{"users":{"@bob:b.example":50}}`, "m.room.power_levels", &empty, `{"users":{"@bob:b.example":51}}`,
			"levels-new", "you cannot set the power level of @bob:b.example to 51: yours is 50",
		},
		{
			"a demotion of an equal", `{"users":{"@bob:b.example":50,"@carol:a.example":50}}`, "m.room.power_levels", &empty,
			`{"users":{"@bob:b.example":50}}`,
			"levels-equal", "you cannot change the power level of @carol:a.example: it is 50, yours is 50",
		},
		{
			"a level above", `{"users":{"@bob:b.example":50},"ban":60}`, "m.room.power_levels", &empty, `{"users":{"@bob:b.example":50}}`,
			"levels-old", "you cannot change the power level of ban: it is 60, yours is 50",
		},
		{
			"levels that are none", `{"users":{"@bob:b.example":50}}`, "m.room.power_levels", &empty, `{"ban":"50"}`,
			"levels-form", "the power levels are not acceptable: ban is not an integer",
		},
		{
			"a creator among the users", `{"users":{"@bob:b.example":50}}`, "m.room.power_levels", &empty, `{"users":{"@alice:a.example":100}}`,
			"levels-creator", "@alice:a.example has made the room, and cannot have a power level",
		},
		{
			"a membership that is none", `{}`, "m.room.member", &own, `{"membership":"gone"}`,
			"membership", `there is no membership "gone"`,
		},
		{
			"a kick", `{"users":{"@bob:b.example":10}}`, "m.room.member", ptr(string(carol)), `{"membership":"leave"}`,
			"kick-level", "you need power level 50 to remove somebody, you have 10",
		},
		{
			"a kick of a creator", `{"users":{"@bob:b.example":100}}`, "m.room.member", ptr(string(alice)), `{"membership":"leave"}`,
			"kick-above", "you cannot remove @alice:a.example: their power level is that of the room's creators, yours is 100",
		},
		{
			"a ban of an equal", `{"users":{"@bob:b.example":50,"@carol:a.example":50}}`, "m.room.member", ptr(string(carol)), `{"membership":"ban"}`,
			"ban-above", "you cannot ban @carol:a.example: their power level is 50, yours is 50",
		},
		{
			"an invite of a member", `{}`, "m.room.member", ptr(string(carol)), `{"membership":"invite"}`,
			"invite-joined", "@carol:a.example is already in the room",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, state := grow(t, "12", c.levels)
			g.member(state, bob, bob, matrix.Join)
			g.member(state, carol, carol, matrix.Join)
			e, _ := g.make(state, bob, c.tp, c.key, c.content)
			mustBe(t, rules.Authorize(e, g.at(state)), c.rule, c.why)
		})
	}
}

func ptr(s string) *string { return &s }

// mustBe checks the rule and the text of a refusal; no rule: it is allowed.
func mustBe(t *testing.T, err error, rule, why string) {
	t.Helper()
	var refused *rules.Refused
	switch {
	case rule == "" && err == nil:
	case rule == "" || !errors.As(err, &refused):
		t.Errorf("%v, wanted %s", err, rule)
	case refused.Rule != rule || why != "" && refused.Why != why:
		t.Errorf("%s: %s, wanted %s: %s", refused.Rule, refused.Why, rule, why)
	}
}

func TestOutsidersAreRefused(t *testing.T) {
	t.Parallel()
	g, state := grow(t, "12", `{}`)
	say := func() error {
		e, _ := g.make(state, bob, "m.room.message", nil, `{"body":"x"}`)
		return rules.Authorize(e, g.at(state))
	}
	mustBe(t, say(), "not-joined", "you are not in the room")
	g.member(state, bob, bob, matrix.Join)
	mustBe(t, say(), "", "")
	g.member(state, alice, bob, matrix.Ban)
	mustBe(t, say(), "not-joined", "you are not in the room")
	again, _ := g.make(state, bob, "m.room.member", ptr(string(bob)), `{"membership":"join"}`)
	mustBe(t, rules.Authorize(again, g.at(state)), "join-banned", "you are banned from the room")
	mustBe(t, rules.Authorize(again, func(string, string) *rules.Event { return nil }), "no-create", "")
}

func TestAuthTypes(t *testing.T) {
	t.Parallel()
	create, levels, joinRules := "m.room.create", "m.room.power_levels", "m.room.join_rules"
	self, other, third := "m.room.member @bob:b.example", "m.room.member @carol:a.example", "m.room.third_party_invite tok"
	for _, c := range []struct {
		name    string
		version matrix.RoomVersion
		tp      string
		key     *string
		content string
		want    []string
	}{
		{"the first event", "11", create, ptr(""), `{}`, nil},
		{"a message", "11", "m.room.message", nil, `{}`, []string{create, levels, self}},
		{"a message, newest version", "12", "m.room.message", nil, `{}`, []string{levels, self}},
		{"a member event that is no state", "12", "m.room.member", nil, `{"membership":"join"}`, []string{levels, self}},
		{"a join", "11", "m.room.member", ptr(string(bob)), `{"membership":"join"}`, []string{create, levels, self, joinRules}},
		{"an escaped join", "11", "m.room.member", ptr(string(bob)), `{"m\u0065mbership":"j\u006fin"}`, []string{create, levels, self, joinRules}},
		{"a ban", "11", "m.room.member", ptr(string(carol)), `{"membership":"ban"}`, []string{create, levels, self, other}},
		{
			"an invite by mail", "11", "m.room.member", ptr(string(carol)),
			`{"membership":"invite","third_party_invite":{"signed":{"token":"tok"}}}`,
			[]string{create, levels, self, other, joinRules, third},
		},
		{
			"a restricted join", "8", "m.room.member", ptr(string(bob)),
			`{"membership":"join","join_authorised_via_users_server":"@carol:a.example"}`, []string{create, levels, self, joinRules, other},
		},
		{
			"before restricted joins", "7", "m.room.member", ptr(string(bob)),
			`{"membership":"join","join_authorised_via_users_server":"@carol:a.example"}`, []string{create, levels, self, joinRules},
		},
		{"nonsense", "12", "m.room.member", ptr(string(bob)), `[`, []string{levels, self}},
	} {
		v, _ := rules.ByID(c.version)
		var got []string
		for _, k := range rules.AuthTypes(v, c.tp, bob, c.key, json.RawMessage(c.content)) {
			got = append(got, strings.TrimSpace(k.Type+" "+k.Key))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, wanted %v", c.name, got, c.want)
		}
	}
}

func TestAuthEventsAreChecked(t *testing.T) {
	t.Parallel()
	g, state := grow(t, "12", `{}`)
	g.member(state, bob, bob, matrix.Join)
	e, _ := g.make(state, bob, "m.room.message", nil, `{"body":"x"}`)
	find := g.at(state)
	create, levels, member := find("m.room.create", ""), find("m.room.power_levels", ""), find("m.room.member", string(bob))
	foreign, elsewhere := grow(t, "12", `{"ban":1}`)
	for _, c := range []struct {
		name  string
		cited []rules.Cited
		rule  string
	}{
		{"as chosen", []rules.Cited{{Event: levels}, {Event: member}, {Event: create}}, ""},
		{"fewer", []rules.Cited{{Event: create}}, ""},
		{"without the create event", []rules.Cited{{Event: levels}, {Event: member}}, "auth-create"},
		{"one twice", []rules.Cited{{Event: create}, {Event: member}, {Event: member}}, "auth-duplicate"},
		{"one that was rejected", []rules.Cited{{Event: create}, {Event: levels, Rejected: true}}, "auth-rejected"},
		{"one too many", []rules.Cited{{Event: create}, {Event: find("m.room.join_rules", "")}}, "auth-unneeded"},
		{"one of another room", []rules.Cited{{Event: create}, {Event: foreign.at(elsewhere)("m.room.power_levels", "")}}, "auth-room"},
		{"a message", []rules.Cited{{Event: create}, {Event: e}}, "auth-unneeded"},
	} {
		t.Run(c.name, func(t *testing.T) { mustBe(t, rules.CheckAuthEvents(e, c.cited), c.rule, "") })
	}
}

// TestRoomsThatDoNotFederate: nobody of another server takes part, or is made a member; whatever
// m.federate is, but true.
func TestRoomsThatDoNotFederate(t *testing.T) {
	t.Parallel()
	for value, closed := range map[string]bool{`true`: false, `false`: true, `null`: true, `"true"`: true, `0`: true} {
		g, state := grow(t, "11", `{"users":{"@alice:a.example":100}}`)
		g.state(state, alice, "m.room.create", "", `{"m.federate":`+value+`,"room_version":"11"}`)
		for _, c := range []struct {
			sender, user matrix.UserID
			m            matrix.Membership
			closed       bool
		}{{bob, bob, matrix.Join, closed}, {alice, bob, matrix.Invite, closed}, {alice, bob, matrix.Ban, closed}, {alice, carol, matrix.Invite, false}} {
			e, _ := g.make(state, c.sender, "m.room.member", ptr(string(c.user)), `{"membership":"`+string(c.m)+`"}`)
			rule := ""
			if c.closed {
				rule = "federate"
			}
			mustBe(t, rules.Authorize(e, g.at(state)), rule, "")
		}
	}
}
