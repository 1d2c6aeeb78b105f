package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// sticks sends an event that is sticky for a time, and gives its id.
func sticks(u *story.User, room, text string, ms int) string {
	path := story.Path("rooms", room, "send", "org.example.note", u.Txn()) + fmt.Sprintf("?org.matrix.msc4354.sticky_duration_ms=%d", ms)
	return u.Must("PUT", path, map[string]any{"body": text, "msc4354_sticky_key": text}).At("event_id").Text()
}

// chatters sends so many texts that no timeline shows what was before.
func chatters(u *story.User, room string) {
	for i := range 25 {
		u.Says(room, fmt.Sprint("chatter ", i))
	}
}

// stuck are the texts of the sticky events that an answer of /sync has of a room, beside its timeline.
func stuck(answer story.JSON, room string) []string {
	return noted(answer.At("rooms", "join", room, "msc4354_sticky", "events").List())
}

// noted are the texts of notes in a list of events.
func noted(events []story.JSON) (out []string) {
	for _, e := range events {
		if e.At("type").Text() == "org.example.note" {
			out = append(out, e.At("content", "body").Text())
		}
	}
	return out
}

func TestStickyEvents(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom()
		alice.SetsState(room, "m.room.history_visibility", "", map[string]any{"history_visibility": "joined"})
		bob.Joins(room)
		begun := bob.Syncs().At("next_batch").Text()

		one := sticks(alice, room, "one", 600_000)
		a := bob.SyncsFrom(begun)
		seen, found := a.At("rooms", "join", room, "timeline", "events", 0), len(noted(a.At("rooms", "join", room, "timeline", "events").List())) == 1
		ttl := seen.At("unsigned", "msc4354_sticky_duration_ttl_ms").Int()
		if !found || seen.At("msc4354_sticky", "duration_ms").Int() != 600_000 || ttl <= 0 || ttl > 600_000 {
			t.Errorf("in the timeline it is %s", seen)
		}
		if got := stuck(a, room); len(got) != 0 {
			t.Errorf("what is in the timeline is told again: %v", got)
		}
		without := bob.SyncsFrom(begun, "filter", `{"room":{"timeline":{"not_types":["org.example.note"]}}}`)
		if got := stuck(without, room); !slices.Equal(got, []string{"one"}) {
			t.Errorf("where the filter leaves it out %v is told", got)
		}

		chatters(alice, room)
		sticks(alice, room, "two", 3_600_000)
		a = bob.SyncsFrom(begun)
		if got := stuck(a, room); !slices.Equal(got, []string{"one"}) {
			t.Errorf("behind a gap %v is told", got)
		}
		if got := stuck(bob.SyncsFrom(""), room); !slices.Equal(got, []string{"one"}) {
			t.Errorf("a new client is told %v", got)
		}
		if again := bob.SyncsFrom(a.At("next_batch").Text()); again.At("rooms").There() {
			t.Errorf("it is told again: %s", again)
		}

		// Whoever comes later sees them too, whatever they see of the history.
		carol.Joins(room)
		a = carol.SyncsFrom("")
		shown := a.At("rooms", "join", room, "timeline", "events").List()
		if got := append(stuck(a, room), noted(shown)...); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("carol is told %v", got)
		}
		if got := bodies(shown); slices.ContainsFunc(got, func(text string) bool { return strings.HasPrefix(text, "chatter") }) {
			t.Errorf("carol sees the history: %v", got)
		}
		if got := noted(carol.History(room)); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("of the history carol sees %v", got)
		}
		for _, path := range []string{"event", "context"} {
			carol.Reads(story.Path("rooms", room, path, one))
		}

		// A redacted one is not sticky any more, nor is one whose time is over.
		alice.Redacts(room, one, "")
		carol.IsRefused(matrix.CodeNotFound, http.StatusNotFound, "GET", story.Path("rooms", room, "event", one), nil)
		sticks(alice, room, "short", 1)
		chatters(alice, room)
		bob.Finds("the short one to end", "/sync", func(a story.JSON) bool { return slices.Equal(stuck(a, room), []string{"two"}) })
		bob.Must("PUT", story.Path("user", bob.ID, "account_data", "m.ignored_user_list"), map[string]any{"ignored_users": map[string]any{alice.ID: map[string]any{}}})
		if got := stuck(bob.SyncsFrom(""), room); len(got) != 0 {
			t.Errorf("of whom bob ignores he is told %v", got)
		}
	})
}

func TestStickyEventsOfSlidingSync(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		var rooms []string
		for range 2 {
			room := alice.CreatesRoom()
			bob.Joins(room)
			sticks(alice, room, "first", 600_000)
			chatters(alice, room)
			rooms = append(rooms, room)
		}
		const name = "org.matrix.msc4354.sticky_events"
		body := roomList([2]int{0, 0}) // the other room is not shown
		body["extensions"] = map[string]any{name: map[string]any{"enabled": true}}
		s := bob.Slides("c", body)
		told := func(a story.JSON, room string) []string {
			return noted(a.At("extensions", name, "rooms", room, "events").List())
		}
		a := s.Goes()
		for _, room := range rooms {
			if got := told(a, room); !slices.Equal(got, []string{"first"}) {
				t.Errorf("at first %v is told", got)
			}
		}
		since := a.At("extensions", name, "next_batch").Text()
		s.Body["extensions"] = map[string]any{name: map[string]any{"enabled": true, "since": since}}
		if a = s.Goes(); a.At("extensions", name).There() {
			t.Errorf("told again: %s", a.At("extensions", name))
		}
		for i := range 3 {
			sticks(alice, rooms[0], fmt.Sprint("more ", i), 600_000)
		}
		sticks(alice, rooms[1], "in view", 600_000)
		s.Body["extensions"] = map[string]any{name: map[string]any{"enabled": true, "since": since, "limit": 2}}
		a = s.Goes()
		if got := told(a, rooms[0]); !slices.Equal(got, []string{"more 0", "more 1"}) {
			t.Errorf("of three with a limit of two %v are told", got)
		}
		if got := told(a, rooms[1]); len(got) != 0 || !slices.Contains(noted(a.At("rooms", rooms[1], "timeline").List()), "in view") {
			t.Errorf("what is in the timeline is told again: %v, %s", got, a)
		}
		s.Body["extensions"] = map[string]any{name: map[string]any{"enabled": true, "since": a.At("extensions", name, "next_batch").Text()}}
		if got := told(s.Goes(), rooms[0]); !slices.Equal(got, []string{"more 2"}) {
			t.Errorf("then %v", got)
		}
	})
}

func TestStickyEventsSentLaterAndRefused(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		if v := alice.Reads("/_matrix/client/versions"); !v.At("unstable_features", "org.matrix.msc4354").Bool() {
			t.Errorf("the server does not say that it has sticky events: %s", v)
		}
		room := alice.CreatesRoom()
		for path, query := range map[string]url.Values{
			story.Path("rooms", room, "send", "org.example.note", "t1"): {
				"org.matrix.msc4354.sticky_duration_ms": {"60000"}, "org.matrix.msc4140.delay": {"50"},
			},
			story.Path("rooms", room, "delayed_event", "org.example.note", "t2"): {"org.matrix.msc4354.sticky_duration_ms": {"60000"}},
		} {
			note := map[string]any{"body": path, "delay_ms": 50, "content": map[string]any{"body": path}}
			alice.Must("PUT", path+"?"+query.Encode(), note)
			e := alice.Sees(room, path)
			if ttl := e.At("unsigned", "msc4354_sticky_duration_ttl_ms").Int(); ttl <= 0 || ttl > time.Minute.Milliseconds() {
				t.Errorf("sent later it is %s", e)
			}
		}
		for _, bad := range []string{"-1", "3600001", "1.5", "long", ""} {
			path := story.Path("rooms", room, "send", "org.example.note", "bad") + "?org.matrix.msc4354.sticky_duration_ms=" + bad
			alice.IsRefused(matrix.CodeInvalidParam, http.StatusBadRequest, "PUT", path, map[string]any{"body": "bad"})
		}
		alice.IsRefused(matrix.CodeInvalidParam, http.StatusBadRequest, "PUT",
			story.Path("rooms", room, "delayed_event", "org.example.note", "t3")+"?org.matrix.msc4354.sticky_duration_ms=60000",
			map[string]any{"delay_ms": 50, "state_key": "", "content": map[string]any{}})
	})
}

// TestStickyEventsReachNewServers: a server that comes later is brought them, by those whose users sent them.
func TestStickyEventsReachNewServers(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		sticks(alice, room, "before", 600_000)
		chatters(alice, room)
		joinsVia(bob, room, a)
		bob.Finds("the sticky event", "/sync", func(answer story.JSON) bool {
			return slices.Contains(append(stuck(answer, room), noted(answer.At("rooms", "join", room, "timeline", "events").List())...), "before")
		})
		alice.Says(room, "welcome")
		bob.Sees(room, "welcome")
		if history := bob.Messages(room, "dir=b&limit=100"); slices.Contains(bodies(history.At("chunk").List()[:5]), "chatter 3") {
			t.Errorf("what is not sticky was brought too: %s", history)
		}
	})
}

// TestSoftFailedStickyEventComesBack: what the state of a room does not allow when it comes is told once the state does,
// while it is sticky.
func TestSoftFailedStickyEventComesBack(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		id := string(room.ID)
		note := func(text string, ms int64) *rules.Event {
			p := room.Proto("org.example.note", map[string]any{"body": text})
			p.Sticky = ms
			return room.Makes(p)
		}
		back, plain, over := note("back", 600_000), note("plain", 0), note("over", 1)
		levels := alice.Reads(story.Path("rooms", id, "state", "m.room.power_levels", ""))
		strict := map[string]any{}
		if err := json.Unmarshal(levels.Bytes(), &strict); err != nil {
			t.Fatal(err)
		}
		strict["events"] = map[string]any{"org.example.note": 50}
		alice.SetsState(id, "m.room.power_levels", "", strict)
		sends(t, f, hs, "t1", []any{back, plain, over, room.Says("and on")})
		alice.Sees(id, "and on")
		if got := noted(alice.History(id)); len(got) != 0 {
			t.Fatalf("what is not allowed is shown: %v", got)
		}
		alice.SetsState(id, "m.room.topic", "", map[string]any{"topic": "which allows nothing"})
		alice.SetsState(id, "m.room.power_levels", "", levels)
		e := alice.SeesEvent(id, "the note", func(e story.JSON) bool { return e.At("content", "body").Text() == "back" })
		if ttl := e.At("unsigned", "msc4354_sticky_duration_ttl_ms").Int(); ttl <= 0 || ttl > 600_000 {
			t.Errorf("it is sticky for %d ms", ttl)
		}
		if got := noted(alice.History(id)); !slices.Equal(got, []string{"back"}) {
			t.Errorf("the room has %v", got)
		}
		alice.Says(id, "who comes later sees it too")
		bob := hs.User("bob")
		bob.Joins(id)
		told := bob.SyncsFrom("")
		if got := append(stuck(told, id), noted(told.At("rooms", "join", id, "timeline", "events").List())...); !slices.Equal(got, []string{"back"}) {
			t.Errorf("who comes later is told %v", got)
		}
	})
}
