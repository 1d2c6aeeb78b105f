package test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"astrocyte/testkit/story"
)

// TestHistoryOfBeforeTheJoin has somebody join a room of another server and read it from its end to its
// beginning, page by page.
func TestHistoryOfBeforeTheJoin(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		const said = 130
		var want []string
		for i := range said {
			text := fmt.Sprintf("word %d", i)
			alice.Says(room, text)
			want = append(want, text)
		}
		bob.Must("POST", story.Path("join", room)+"?via="+string(a.ServerName()), `{}`)

		got, born := readBack(t, bob, room)
		slices.Reverse(got)
		if !slices.Equal(got, want) {
			t.Errorf("bob reads %d messages, want %d: %v", len(got), said, got)
		}
		if !born {
			t.Error("bob does not reach the beginning of the room")
		}
		again, _ := readBack(t, bob, room)
		slices.Reverse(again)
		if !slices.Equal(again, got) {
			t.Errorf("the second time bob reads %d messages", len(again))
		}
	})
}

// TestHistoryOfAServerThatRestarts has somebody read on while the server that has the history is away: a moment after it is
// back it is asked again.
func TestHistoryOfAServerThatRestarts(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		alice.Says(room, "long ago")
		joinsVia(bob, room, a)
		a.Stop()
		read := func() []string { return bodies(bob.Messages(room, "dir=b&limit=50").At("chunk").List()) }
		if got := read(); len(got) != 0 {
			t.Errorf("bob reads %q of a server that is away", got)
		}
		a.Restart()
		for end := time.Now().Add(100 * time.Second); !slices.Contains(read(), "long ago"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) { // a hole that nobody can fill rests for two minutes
				t.Fatal("bob does not read on")
			}
		}
	})
}

// readBack pages through a room from its end. It gives what was said, the newest first, and whether the
// beginning was reached.
func readBack(t *testing.T, u *story.User, room string) (said []string, born bool) {
	t.Helper()
	seen := make(map[string]bool)
	from := ""
	for range 100 {
		page := u.Reads(story.Path("rooms", room, "messages") + "?dir=b&limit=20" + from)
		for _, e := range page.At("chunk").List() {
			id := e.At("event_id").Text()
			if seen[id] {
				t.Fatalf("the event %s comes twice", id)
			}
			seen[id] = true
			born = born || e.At("type").Text() == "m.room.create"
			if e.At("type").Text() == "m.room.message" {
				said = append(said, e.At("content").At("body").Text())
			}
		}
		if page.At("end").Text() == "" {
			return said, born
		}
		from = "&from=" + page.At("end").Text()
	}
	t.Fatal("the room has no beginning")
	return nil, false
}
