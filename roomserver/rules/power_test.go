package rules_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
)

// levelsEvent is a power levels event of some content; nil where its version takes no such JSON.
func levelsEvent(t testing.TB, version matrix.RoomVersion, content string) *rules.Event {
	t.Helper()
	v, _ := rules.ByID(version)
	empty := ""
	p := &rules.Proto{
		RoomID: "!room:a.example", Sender: alice, Type: "m.room.power_levels", StateKey: &empty, Content: json.RawMessage(content),
	}
	if v.EventIDInside {
		p.EventID = "$levels:a.example"
	}
	e, err := rules.Build(v, p)
	if err != nil {
		return nil
	}
	return e
}

func TestLevelsAreRead(t *testing.T) {
	t.Parallel()
	const no = rules.Level(-777) // what the default is below
	for _, c := range []struct {
		value   string
		v1, v9  rules.Level
		v10     rules.Level
		inLoose bool // the JSON is of the oldest versions only
	}{
		{value: `0`, v1: 0, v9: 0, v10: 0},
		{value: `50`, v1: 50, v9: 50, v10: 50},
		{value: `-50`, v1: -50, v9: -50, v10: -50},
		{value: `9007199254740991`, v1: 1<<53 - 1, v9: 1<<53 - 1, v10: 1<<53 - 1},
		{value: `"50"`, v1: 50, v9: 50, v10: no},
		{value: `" +050\n"`, v1: 50, v9: 50, v10: no},
		{value: `"-5"`, v1: -5, v9: -5, v10: no},
		{value: `"+-5"`, v1: no, v9: no, v10: no},
		{value: `"5.0"`, v1: no, v9: no, v10: no},
		{value: `"5e1"`, v1: no, v9: no, v10: no},
		{value: `"0x32"`, v1: no, v9: no, v10: no},
		{value: `"Infinity"`, v1: no, v9: no, v10: no},
		{value: `""`, v1: no, v9: no, v10: no},
		{value: `" "`, v1: no, v9: no, v10: no},
		{value: `"+"`, v1: no, v9: no, v10: no},
		{value: `"-"`, v1: no, v9: no, v10: no},
		{value: `true`, v1: no, v9: no, v10: no},
		{value: `null`, v1: no, v9: no, v10: no},
		{value: `[50]`, v1: no, v9: no, v10: no},
		{value: `{}`, v1: no, v9: no, v10: no},
		{value: `50.9`, v1: 50, inLoose: true},
		{value: `-0.5`, v1: 0, inLoose: true},
		{value: `1e400`, inLoose: true}, // no JSON at all
		{value: `123456789012345678901234567890`, v1: 1 << 62, inLoose: true},
		{value: `-1e30`, v1: -(1 << 62), inLoose: true},
		{value: `"99999999999999999999"`, v1: 1 << 62, v9: 1 << 62, v10: no},
	} {
		for version, want := range map[matrix.RoomVersion]rules.Level{"1": c.v1, "9": c.v9, "10": c.v10} {
			e := levelsEvent(t, version, fmt.Sprintf(`{"users_default":-777,"users":{"@bob:b.example":%s}}`, c.value))
			if e == nil {
				if !c.inLoose {
					t.Errorf("version %s takes no %s", version, c.value)
				}
				continue
			}
			if got := rules.Levels(nil, e).User(bob); got != want {
				t.Errorf("version %s: %s is %s, wanted %s", version, c.value, got, want)
			}
		}
	}
}

func TestDefaultLevels(t *testing.T) {
	t.Parallel()
	for _, version := range []matrix.RoomVersion{"1", "11", "12"} {
		g, state := grow(t, version, `{}`)
		create := g.at(state)("m.room.create", "")
		creator := rules.Level(100)
		if version == "12" {
			creator = rules.Infinite
		}
		none, empty := rules.Levels(create, nil), rules.Levels(create, levelsEvent(t, version, `{}`))
		if got := none.User(alice); got != creator {
			t.Errorf("version %s: without power levels the creator has %s", version, got)
		}
		if got := empty.User(alice); got != 0 && version != "12" || got != rules.Infinite && version == "12" {
			t.Errorf("version %s: with empty power levels the creator has %s", version, got)
		}
		for name, p := range map[string]*rules.PowerLevels{"none": none, "empty": empty} {
			got := []rules.Level{p.User(bob), p.Event("x", false), p.Event("x", true), p.Invite(), p.Kick(), p.Ban(), p.Redact(), p.Notifications("room")}
			want := []rules.Level{0, 0, 50, 0, 50, 50, 50, 50}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("version %s, %s: %v, wanted %v", version, name, got, want)
			}
			if users := p.Users(); version == "12" && users[alice] != rules.Infinite {
				t.Errorf("the creator is not among the users: %v", users)
			}
		}
	}
}

func TestLevelsOfARoom(t *testing.T) {
	t.Parallel()
	e := levelsEvent(t, "11", `{"users":{"@bob:b.example":60},"users_default":5,"events":{"m.room.name":70,"x":1},"events_default":2,
		"state_default":3,"invite":61,"kick":62,"ban":63,"redact":60,"notifications":{"room":9}}`)
	p := rules.Levels(nil, e)
	for name, is := range map[string]bool{
		"bob":                       p.User(bob) == 60,
		"anybody":                   p.User(alice) == 5,
		"a named type":              p.Event("m.room.name", true) == 70,
		"a named type, no state":    p.Event("x", false) == 1,
		"other state":               p.Event("y", true) == 3,
		"other":                     p.Event("y", false) == 2,
		"invite":                    !p.MayInvite(bob),
		"redact":                    p.MayRedact(bob) && !p.MayRedact(alice),
		"kick":                      p.Kick() == 62,
		"ban":                       p.Ban() == 63,
		"notifications":             p.Notifications("room") == 9 && p.Notifications("else") == 50,
		"may send":                  p.MaySend(bob, "y", true) && !p.MaySend(bob, "m.room.name", true),
		"users":                     len(p.Users()) == 1 && p.Users()[bob] == 60,
		"levels compare":            p.User(bob).Compare(5) > 0 && p.User(alice).Compare(5) == 0 && rules.Level(1).Compare(rules.Infinite) < 0,
		"a level is told by digits": p.User(bob).String() == "60",
	} {
		if !is {
			t.Error(name)
		}
	}
}

// FuzzPowerLevels: whatever stands in power levels, nobody gets the power of a creator by it, and what
// the newer versions take means the same in the older ones.
func FuzzPowerLevels(f *testing.F) {
	for _, content := range []string{
		`{}`, levelsOf(3, `,"ban":60,"events":{"m.room.name":50},"notifications":{"room":20}`),
		`{"users":{"@bob:b.example":"50"},"ban":"\t60 "}`, `{"users":[],"events":null,"notifications":0}`,
		`{"users":{"bob":1,"@x:y":9007199254740991},"users_default":-9007199254740991}`,
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := canonicaljson.CanonicalIn(nil, content, canonicaljson.Loose, 1); err != nil || len(content) > 20_000 {
			return
		}
		for _, version := range []matrix.RoomVersion{"1", "9", "12"} {
			e := levelsEvent(t, version, string(content))
			if e == nil {
				continue
			}
			p := rules.Levels(nil, e)
			for u, level := range p.Users() {
				if level == rules.Infinite || p.User(u) != level || u == "" && version == "12" && allowed(t, e) {
					t.Fatalf("version %s: %q has %s", version, u, level)
				}
			}
			if version == "12" && allowed(t, e) {
				sameInOlder(t, p, string(content))
			}
		}
	})
}

// allowed says whether the rules allow an event as the room's first power levels.
func allowed(t testing.TB, e *rules.Event) bool {
	g, state := grow(t, e.Version().ID, `{}`)
	delete(state, rules.StateKey{Type: "m.room.power_levels"})
	return rules.Authorize(e, g.at(state)) == nil
}

func sameInOlder(t *testing.T, p *rules.PowerLevels, content string) {
	older := levelsEvent(t, "9", content)
	if older == nil {
		t.Fatalf("version 9 does not take %q", content)
	}
	q := rules.Levels(nil, older)
	for u, level := range p.Users() {
		if q.User(u) != level {
			t.Fatalf("%s has %s, and %s in version 9", u, level, q.User(u))
		}
	}
	if p.Ban() != q.Ban() || p.Invite() != q.Invite() || p.Event("m.room.name", true) != q.Event("m.room.name", true) ||
		p.Notifications("room") != q.Notifications("room") || len(p.Users()) != len(q.Users()) {
		t.Fatalf("%q means something else in version 9", content)
	}
}
