package test

import (
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestHistoryVisibility tells the same story in a room of each visibility: alice speaks before bob is
// invited, while he is invited, while he is joined, and after he has left.
func TestHistoryVisibility(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"world_readable": {"before", "invited", "joined", "gone"},
		"shared":         {"before", "invited", "joined"},
		"invited":        {"invited", "joined"},
		"joined":         {"joined"},
	}
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		for visibility, texts := range want {
			room := alice.CreatesRoom(private(), map[string]any{"initial_state": []any{map[string]any{
				"type": "m.room.history_visibility", "content": map[string]any{"history_visibility": visibility},
			}}})
			ids := map[string]string{"before": alice.Says(room, "before")}
			alice.Invites(room, bob)
			ids["invited"] = alice.Says(room, "invited")
			bob.Joins(room)
			ids["joined"] = alice.Says(room, "joined")
			if got := bodies(bob.History(room)); visibility != "world_readable" && !slices.Equal(got, texts) {
				t.Errorf("%s: while he is in the room bob reads %v, want %v", visibility, got, texts)
			}
			bob.Leaves(room)
			ids["gone"] = alice.Says(room, "gone")
			if got := bodies(bob.History(room)); !slices.Equal(got, texts) {
				t.Errorf("%s: bob reads %v, want %v", visibility, got, texts)
			}
			for text, id := range ids {
				a := bob.Does("GET", story.Path("rooms", room, "event", id), nil)
				if visible := slices.Contains(texts, text); visible != (a.Status == 200) || !visible && a.Status != 404 && a.Status != 403 {
					t.Errorf("%s: the event %q: status %d: %s", visibility, text, a.Status, a)
				}
				a = bob.Does("GET", story.Path("rooms", room, "context", id), nil)
				if visible := slices.Contains(texts, text); visible != (a.Status == 200) {
					t.Errorf("%s: the context of %q: status %d: %s", visibility, text, a.Status, a)
				}
			}
			if got := bodies(alice.History(room)); len(got) != 4 {
				t.Errorf("%s: alice reads %v", visibility, got)
			}
		}
	})
}

// bodies gives the texts of the messages among events.
func bodies(events []story.JSON) []string {
	var texts []string
	for _, e := range events {
		if e.At("type").Text() == "m.room.message" {
			texts = append(texts, e.At("content", "body").Text())
		}
	}
	return texts
}

func TestVisibilityIsDecidedAtTheEvent(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"initial_state": []any{map[string]any{
			"type": "m.room.history_visibility", "content": map[string]any{"history_visibility": "joined"},
		}}})
		alice.Says(room, "secret")
		alice.SetsState(room, "m.room.history_visibility", "", map[string]any{"history_visibility": "shared"})
		alice.Says(room, "open")
		bob.Joins(room)
		if got := bodies(bob.History(room)); !slices.Equal(got, []string{"open"}) {
			t.Errorf("bob reads %v", got)
		}
		bob.SyncsAnew()
		if got := bodies(bob.Timeline(room)); !slices.Equal(got, []string{"open"}) {
			t.Errorf("bob's first sync has %v", got)
		}
	})
}

func TestStrangersReadOnlyWhatTheWorldMay(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, eve := hs.User("alice"), hs.User("eve")
		room := alice.CreatesRoom()
		id := alice.Says(room, "hello")
		for _, path := range []string{
			story.Path("rooms", room, "messages") + "?dir=b", story.Path("rooms", room, "state"),
			story.Path("rooms", room, "state", "m.room.create"), story.Path("rooms", room, "members"), story.Path("rooms", room, "joined_members"),
		} {
			eve.IsRefused(matrix.CodeForbidden, 403, "GET", path, nil)
		}
		if a := eve.Does("GET", story.Path("rooms", room, "event", id), nil); a.Status != 404 && a.Status != 403 {
			t.Errorf("a stranger asks for an event: status %d: %s", a.Status, a)
		}
		if a := eve.Does("GET", story.Path("rooms", room, "context", id), nil); a.Status != 404 && a.Status != 403 {
			t.Errorf("a stranger asks for a context: status %d: %s", a.Status, a)
		}
		alice.SetsState(room, "m.room.history_visibility", "", map[string]any{"history_visibility": "world_readable"})
		alice.Says(room, "to the world")
		if got := bodies(eve.Messages(room, "dir=b").At("chunk").List()); !slices.Contains(got, "to the world") {
			t.Errorf("in a world-readable room a stranger reads %v", got)
		}
		eve.Reads(story.Path("rooms", room, "state"))
		eve.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "send", "m.room.message", "x"), `{"body":"x"}`)
	})
}
