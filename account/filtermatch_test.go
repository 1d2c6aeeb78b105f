package account

import "testing"

func TestTypesAreMatchedWithWildcards(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, tp string
		want        bool
	}{
		{"m.room.message", "m.room.message", true},
		{"m.room.message", "m.room.messages", false},
		{"*", "", true},
		{"m.room.*", "m.room.name", true},
		{"m.room.*", "m.roomname", false},
		{"*.name", "m.room.name", true},
		{"m.*.na*e", "m.room.name", true},
		{"m.*.*", "m.room", false},
		{"ab*ba", "aba", false},
		{"a*b*c*d", "axcxbxcxd", true},
		{"a*b*c*d", "axcxbxd", false},
	} {
		if got := typeMatches(c.pattern, c.tp); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.tp, got)
		}
	}
}

func TestEmptyListsLetNothingThrough(t *testing.T) {
	t.Parallel()
	if (&EventFilter{Types: []string{}}).Matches("@a:b", "m.x") {
		t.Error("an empty list of types let an event through")
	}
	if !(&EventFilter{}).Matches("@a:b", "m.x") {
		t.Error("a filter without lists refused an event")
	}
	if (&EventFilter{Senders: []string{"@a:b"}, NotSenders: []string{"@a:b"}}).Matches("@a:b", "m.x") {
		t.Error("not_senders does not win over senders")
	}
}
