package rules_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

func memberKey(u matrix.UserID) rules.StateKey {
	return rules.StateKey{Type: "m.room.member", Key: string(u)}
}

// TestResolutionOfABan: who was banned on one branch does not stay by what they did on the other.
func TestResolutionOfABan(t *testing.T) {
	t.Parallel()
	for _, version := range []matrix.RoomVersion{"2", "6", "11", "12"} {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			levels := `{"users":{"@alice:a.example":100,"@bob:b.example":50}}`
			if version == "12" { // the creator stands above them
				levels = `{"users":{"@bob:b.example":50}}`
			}
			g, trunk := grow(t, version, levels)
			g.member(trunk, bob, bob, matrix.Join)
			left, right := maps.Clone(trunk), maps.Clone(trunk)
			g.member(left, alice, bob, matrix.Ban)
			g.state(right, bob, "m.room.topic", "", `{"topic":"bob was here"}`)
			g.state(right, bob, "m.room.member", string(bob), `{"displayname":"Bob","membership":"join"}`)
			for _, result := range []branch{g.resolve(left, right), g.resolve(right, left), g.resolve(left, right, left)} {
				if result[memberKey(bob)] != left[memberKey(bob)] {
					t.Error("the ban is gone")
				}
				if result[rules.StateKey{Type: "m.room.topic"}] != 0 {
					t.Error("the topic of a banned user stands")
				}
				if len(result) != len(trunk) {
					t.Errorf("%d entries, wanted %d", len(result), len(trunk))
				}
			}
		})
	}
}

// TestResolutionOfOneState: where the sets agree nothing is looked at.
func TestResolutionOfOneState(t *testing.T) {
	t.Parallel()
	g, trunk := grow(t, "12", `{}`)
	set := g.entries(trunk)
	for name, sets := range map[string][][]rules.Entry{
		"no set": {}, "an empty set": {{}}, "one set": {set}, "the same sets": {set, slices.Clone(set), set},
	} {
		got, err := rules.Resolve(g.version, sets, &rules.Source{}, 1000)
		want := []rules.Entry{}
		if len(sets) > 0 {
			want = sets[0]
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestResolutionKeepsItsBudget: every budget below what a resolution needs ends it with ErrBudget, and
// its inputs stay as they are.
func TestResolutionKeepsItsBudget(t *testing.T) {
	t.Parallel()
	for _, version := range []matrix.RoomVersion{"1", "11", "12"} {
		g, branches := splitRoom(t, version, 40, 20)
		sets := [][]rules.Entry{g.entries(branches[0]), g.entries(branches[1])}
		before := [][]rules.Entry{slices.Clone(sets[0]), slices.Clone(sets[1])}
		refused := 0
		for budget := 0; ; budget += 7 {
			_, err := rules.Resolve(g.version, sets, g.source(), budget)
			if err == nil {
				break
			}
			if refused++; !errors.Is(err, rules.ErrBudget) {
				t.Fatalf("version %s, budget %d: %v", version, budget, err)
			}
		}
		if refused < 10 {
			t.Errorf("version %s: only %d budgets were too small", version, refused)
		}
		if !slices.Equal(sets[0], before[0]) || !slices.Equal(sets[1], before[1]) {
			t.Errorf("version %s: the state sets were written", version)
		}
	}
}

// TestResolutionNeedsItsEvents: what the source does not have is told, and never taken for nothing.
func TestResolutionNeedsItsEvents(t *testing.T) {
	t.Parallel()
	g, branches := splitRoom(t, "12", 40, 20)
	sets := [][]rules.Entry{g.entries(branches[0]), g.entries(branches[1])}
	src := g.source()
	src.Auth = new(rules.AuthDAG)
	var missing *rules.MissingAuth
	if _, err := rules.Resolve(g.version, sets, src, 1<<30); !errors.As(err, &missing) {
		t.Errorf("without an auth DAG: %v", err)
	}
	broken := errors.New("broken")
	src = g.source()
	src.Events = func([]int64) ([]*rules.Event, error) { return nil, broken }
	if _, err := rules.Resolve(g.version, sets, src, 1<<30); !errors.Is(err, broken) {
		t.Errorf("without events: %v", err)
	}
	src = g.source()
	src.Tuples = func([]rules.StateKey) ([]int64, error) { return nil, broken }
	if _, err := rules.Resolve(g.version, sets, src, 1<<30); !errors.Is(err, broken) {
		t.Errorf("without tuples: %v", err)
	}
}

// TestResolutionIsOfTheSets: their order and how often one is named say nothing.
func TestResolutionIsOfTheSets(t *testing.T) {
	t.Parallel()
	for _, version := range []matrix.RoomVersion{"1", "6", "12"} {
		g, branches := splitRoom(t, version, 60, 40)
		a, b := g.entries(branches[0]), g.entries(branches[1])
		want, err := rules.Resolve(g.version, [][]rules.Entry{a, b}, g.source(), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for i, sets := range [][][]rules.Entry{{b, a}, {a, b, a}, {b, b, a, a}} {
			got, err := rules.Resolve(g.version, sets, g.source(), 1<<30)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("version %s, order %d: another result: %v", version, i, err)
			}
		}
	}
}
