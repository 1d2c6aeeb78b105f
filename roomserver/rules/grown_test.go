package rules_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// grown is a room that a test lets grow: each event is built on a state, and refers to what the rules
// choose of it.
type grown struct {
	t testing.TB
	*room
	id   matrix.RoomID
	byID map[matrix.EventID]int64
	last int64 // time
}

// branch is a state of a room, by place.
type branch map[rules.StateKey]int64

const alice = matrix.UserID("@alice:a.example")

// grow begins a room: alice makes it and joins, and anybody may join.
func grow(t testing.TB, version matrix.RoomVersion, levels string) (*grown, branch) {
	t.Helper()
	v, ok := rules.ByID(version)
	if !ok {
		t.Fatalf("no room version %s", version)
	}
	g := &grown{
		t: t, byID: map[matrix.EventID]int64{},
		room: &room{version: v, events: map[int64]*rules.Event{}, tuples: map[rules.StateKey]int64{}},
	}
	b := branch{}
	if !v.RoomIDIsHash {
		g.id = "!room:a.example"
	}
	create := g.state(b, alice, "m.room.create", "", fmt.Sprintf(`{"creator":"@alice:a.example","room_version":%q,"x":%d}`, version, len(levels)))
	g.id = create.RoomID()
	g.member(b, alice, alice, matrix.Join)
	g.state(b, alice, "m.room.power_levels", "", levels)
	g.state(b, alice, "m.room.join_rules", "", `{"join_rule":"public"}`)
	return g, b
}

// state makes a state event on a branch, whatever the rules say, and moves the branch.
func (g *grown) state(b branch, sender matrix.UserID, tp, key, content string) *rules.Event {
	g.t.Helper()
	e, nid := g.make(b, sender, tp, &key, content)
	b[rules.StateKey{Type: tp, Key: key}] = nid
	return e
}

func (g *grown) member(b branch, sender, user matrix.UserID, m matrix.Membership) *rules.Event {
	g.t.Helper()
	return g.state(b, sender, "m.room.member", string(user), fmt.Sprintf(`{"membership":%q}`, m))
}

// make makes an event on a branch.
func (g *grown) make(b branch, sender matrix.UserID, tp string, key *string, content string) (*rules.Event, int64) {
	g.t.Helper()
	g.last++
	p := rules.Proto{
		RoomID: g.id, Sender: sender, Type: tp, StateKey: key, Content: json.RawMessage(content),
		Depth: g.last, OriginServerTS: 1_700_000_000_000 + g.last,
	}
	if g.version.EventIDInside {
		p.EventID = matrix.EventID(fmt.Sprintf("$e%d:%s", g.last, sender.Server()))
	}
	for _, k := range rules.AuthTypes(g.version, tp, sender, key, p.Content) {
		if nid := b[k]; nid != 0 {
			p.Auth = append(p.Auth, g.events[nid].Ref())
		}
	}
	if nid := b[rules.StateKey{Type: "m.room.create"}]; nid != 0 {
		p.Prev = []rules.EventRef{g.events[nid].Ref()}
	}
	e, err := rules.Build(g.version, &p)
	if err != nil {
		g.t.Fatal(err)
	}
	nid := int64(len(g.nids)+1) << 8
	g.byID[e.ID()] = nid
	if key == nil {
		return e, 0
	}
	if err := g.add(nid, e, g.byID); err != nil {
		g.t.Fatal(err)
	}
	return e, nid
}

// entries is a branch as a state set.
func (g *grown) entries(b branch) []rules.Entry {
	set := make([]rules.Entry, 0, len(b))
	for k, nid := range b {
		set = append(set, rules.Entry{Tuple: g.tuples[k], Event: nid})
	}
	slices.SortFunc(set, func(x, y rules.Entry) int { return cmp.Compare(x.Tuple, y.Tuple) })
	return set
}

// at finds a branch's event.
func (g *grown) at(b branch) rules.StateFunc {
	return func(tp, key string) *rules.Event { return g.events[b[rules.StateKey{Type: tp, Key: key}]] }
}

// resolve resolves branches, and gives the result as one.
func (g *grown) resolve(branches ...branch) branch {
	g.t.Helper()
	var sets [][]rules.Entry
	for _, b := range branches {
		sets = append(sets, g.entries(b))
	}
	got, err := rules.Resolve(g.version, sets, g.source(), 1<<30)
	if err != nil {
		g.t.Fatal(err)
	}
	result := branch{}
	for _, e := range got {
		key, _ := g.events[e.Event].StateKey()
		result[rules.StateKey{Type: g.events[e.Event].Type(), Key: key}] = e.Event
	}
	return result
}

// user is one of many.
func user(i int) matrix.UserID { return matrix.UserID(fmt.Sprintf("@user-%06d:b.example", i)) }

// levelsOf are power levels with this many users.
func levelsOf(users int, rest string) string {
	list := `"@alice:a.example":100`
	for i := range users {
		list += fmt.Sprintf(`,%q:50`, user(i))
	}
	return `{"users":{` + list + `}` + rest + `}`
}
