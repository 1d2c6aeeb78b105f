package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// looksFor searches for events, and gives what was found.
func looksFor(u *story.User, criteria, query string) story.JSON {
	return u.Must("POST", "/search"+query, `{"search_categories":{"room_events":{`+criteria+`}}}`).At("search_categories", "room_events")
}

// looksUntil searches until what is found fits, and gives what was found at last: the index follows what is sent, and a
// search waits for it for a moment only.
func looksUntil(u *story.User, criteria string, fits func(found story.JSON) bool) (found story.JSON) {
	for end := time.Now().Add(time.Minute); ; {
		if found = looksFor(u, criteria, ""); fits(found) || time.Now().After(end) {
			return found
		}
	}
}

// numbers says whether so many events are found.
func numbers(n int) func(found story.JSON) bool {
	return func(found story.JSON) bool { return len(foundIDs(found)) == n }
}

func foundIDs(found story.JSON) []string {
	var all []string
	for _, r := range found.At("results").List() {
		all = append(all, r.At("result", "event_id").Text())
	}
	return all
}

func TestSearch(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat", "name": "Küche", "invite": []string{bob.ID}})
		bob.Joins(room)
		var said []string
		for i := range 5 {
			said = append(said, alice.Says(room, fmt.Sprintf("line %d", i)))
		}
		hit := bob.Says(room, "明日の会議は東京タワーで")
		after := alice.Says(room, "good")

		looksUntil(alice, `"search_term":"good"`, numbers(1)) // which was said last
		found := looksFor(alice, `"search_term":"会議","include_state":true,"event_context":{"before_limit":2,"include_profile":true},
			"groupings":{"group_by":[{"key":"room_id"},{"key":"sender"}]}`, "")
		if got := foundIDs(found); !slices.Equal(got, []string{hit}) || found.At("count").Int() != 1 {
			t.Fatalf("found %s", found)
		}
		if got := found.At("highlights").List(); len(got) != 1 || got[0].Text() != "会議" {
			t.Errorf("highlights: %s", found.At("highlights"))
		}
		around := found.At("results", 0, "context")
		if got := around.At("events_before").Texts("event_id"); !slices.Equal(got, []string{said[4], said[3]}) {
			t.Errorf("before it: %v", got)
		}
		if got := around.At("events_after").Texts("event_id"); !slices.Equal(got, []string{after}) {
			t.Errorf("after it: %v", got)
		}
		if got := around.At("profile_info").Keys(); !slices.Contains(got, bob.ID) || !slices.Contains(got, alice.ID) {
			t.Errorf("profiles of %v", got)
		}
		older := alice.Messages(room, "dir=b&limit=1&from="+around.At("start").Text())
		if got := older.At("chunk", 0, "event_id").Text(); got != said[2] {
			t.Errorf("before the context comes %s", older)
		}
		if _, ok := found.At("state", room).Find(func(e story.JSON) bool { return e.At("content", "name").Text() == "Küche" }); !ok {
			t.Errorf("the state is %s", found.At("state"))
		}
		if got := found.At("groups", "room_id", room, "results", 0).Text() + found.At("groups", "sender", bob.ID, "results", 0).Text(); got != hit+hit {
			t.Errorf("the groups are %s", found.At("groups"))
		}
		if got := looksFor(eve, `"search_term":"会議"`, ""); got.At("count").Int() != 0 || len(got.At("results").List()) != 0 {
			t.Errorf("eve finds %s", got)
		}
		if got := looksFor(bob, `"search_term":"kuche","keys":["content.name"]`, ""); len(foundIDs(got)) != 1 || got.At("highlights", 1).Text() != "küche" {
			t.Errorf("bob finds %s", got)
		}

		var pages []string
		for next, n := "", 0; n == 0 || next != ""; n++ {
			query := ""
			if next != "" {
				query = "?next_batch=" + next
			}
			page := looksFor(bob, `"search_term":"line","order_by":"recent","filter":{"limit":2}`, query)
			pages = append(pages, foundIDs(page)...)
			if next = page.At("next_batch").Text(); page.At("count").Int() != 5 {
				t.Errorf("page %d counts %s", n, page.At("count"))
			}
		}
		slices.Reverse(pages)
		if !slices.Equal(pages, said) {
			t.Errorf("the pages are %v, not %v", pages, said)
		}

		bob.Redacts(room, hit, "")
		if got := foundIDs(looksUntil(alice, `"search_term":"会議"`, numbers(0))); len(got) != 0 {
			t.Errorf("what is redacted is found: %v", got)
		}
		hs.Restart()
		if got := foundIDs(looksFor(alice, `"search_term":"lin"`, "")); len(got) != 5 {
			t.Errorf("after a restart %d events are found", len(got))
		}
	})
}

func TestSearchFollowsUpgrades(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		old := alice.CreatesRoom(map[string]any{"room_version": "10"})
		before := alice.Says(old, "walnut before")
		room := alice.Must("POST", story.Path("rooms", old, "upgrade"), `{"new_version":"12"}`).At("replacement_room").Text()
		after := alice.Says(room, "walnut after")
		got := foundIDs(looksUntil(alice, `"search_term":"walnut","order_by":"recent","filter":{"rooms":["`+room+`"]}`, numbers(2)))
		if !slices.Equal(got, []string{after, before}) {
			t.Errorf("found %v", got)
		}
	})
}

func TestSearchRefuses(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice := hs.User("alice")
	for _, c := range []struct {
		body string
		code matrix.Code
	}{
		{`{}`, matrix.CodeMissingParam},
		{`{"search_categories":7}`, matrix.CodeBadJSON},
		{`{"search_categories":{"room_events":{}}}`, matrix.CodeMissingParam},
		{`{"search_categories":{"room_events":{"search_term":7}}}`, matrix.CodeBadJSON},
		{`{"search_categories":{"room_events":{"search_term":"` + strings.Repeat("x", 1001) + `"}}}`, matrix.CodeInvalidParam},
		{`{"search_categories":{"room_events":{"search_term":"x","keys":["content.msgtype"]}}}`, matrix.CodeInvalidParam},
		{`{"search_categories":{"room_events":{"search_term":"x","keys":["content.body","content.body","content.body","content.body"]}}}`, matrix.CodeInvalidParam},
		{`{"search_categories":{"room_events":{"search_term":"x","order_by":"age"}}}`, matrix.CodeInvalidParam},
		{`{"search_categories":{"room_events":{"search_term":"x","filter":[]}}}`, matrix.CodeBadJSON},
		{`{"search_categories":{"room_events":{"search_term":"x","filter":{"limit":-1}}}}`, matrix.CodeInvalidParam},
		{`{"search_categories":{"room_events":{"search_term":"x","filter":{"rooms":["room"]}}}}`, matrix.CodeInvalidParam},
		{`{"search_categories":{"room_events":{"search_term":"x","event_context":{"before_limit":-1}}}}`, matrix.CodeInvalidParam},
		{`{"search_categories":{"room_events":{"search_term":"x","event_context":{"after_limit":"5"}}}}`, matrix.CodeBadJSON},
		{`{"search_categories":{"room_events":{"search_term":"x","groupings":{"group_by":[{"key":"type"}]}}}}`, matrix.CodeInvalidParam},
	} {
		alice.IsRefused(c.code, 400, "POST", "/search", c.body)
	}
	const good = `{"search_categories":{"room_events":{"search_term":"x"}}}`
	alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", "/search?next_batch=nonsense", good)
	hs.Nobody().IsRefused(matrix.CodeMissingToken, 401, "POST", "/search", good)
	if got := alice.Must("POST", "/search", `{"search_categories":{}}`); got.At("search_categories").String() != "{}" {
		t.Errorf("nothing asked, answered %s", got)
	}
	for _, term := range []string{"", " ", "!?", `\"' OR *`, "' | 'x", strings.Repeat("ab ", 300)} {
		alice.Must("POST", "/search", `{"search_categories":{"room_events":{"search_term":"`+term+`"}}}`)
	}
	alice.IsRefused(matrix.CodeMissingParam, 400, "POST", "/user_directory/search", `{}`)
	alice.IsRefused(matrix.CodeBadJSON, 400, "POST", "/user_directory/search", `{"search_term":["x"]}`)
	alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", "/user_directory/search", `{"search_term":"x","limit":-1}`)
	alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", "/user_directory/search", `{"search_term":"`+strings.Repeat("x", 1001)+`"}`)
	hs.Nobody().IsRefused(matrix.CodeMissingToken, 401, "POST", "/user_directory/search", `{"search_term":"x"}`)
}

func TestUserDirectory(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		finds := func(u *story.User, term string) string {
			return strings.Join(u.Must("POST", "/user_directory/search", `{"search_term":"`+term+`"}`).At("results").Texts("display_name"), ", ")
		}
		alice.Must("PUT", story.Path("profile", alice.ID, "displayname"), `{"displayname":"田中アリス"}`)
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat", "invite": []string{bob.ID}})
		bob.Joins(room)
		alice.SetsState(room, "m.room.member", alice.ID, map[string]string{"membership": "join", "displayname": "Secret Name"})
		for _, c := range []struct {
			who        *story.User
			term, want string
		}{{bob, "アリス", "田中アリス"}, {bob, "田", "田中アリス"}, {bob, "secret", ""}, {eve, "アリス", ""}} {
			if got := finds(c.who, c.term); got != c.want {
				t.Errorf("%s looks for %q and finds %q", c.who.ID, c.term, got)
			}
		}
		alice.CreatesRoom(map[string]any{"preset": "public_chat"})
		if got := finds(eve, "アリス"); got != "田中アリス" {
			t.Errorf("eve finds %q", got)
		}
		alice.Must("PUT", story.Path("profile", alice.ID, "displayname"), `{"displayname":"Alice"}`)
		if got := finds(eve, "アリス") + finds(eve, "ali"); got != "Alice" {
			t.Errorf("eve finds %q", got)
		}
	})
}

func TestUserDirectoryOfAll(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, func(c *config.Config) { c.Users.Directory = "all" })
		alice, bob := hs.User("alice"), hs.User("bob")
		got := alice.Must("POST", "/user_directory/search", `{"search_term":"`+bob.ID[:4]+`"}`)
		if got.At("results", 0, "user_id").Text() != bob.ID || got.At("limited").Bool() {
			t.Errorf("alice finds %s", got)
		}
	})
}

// TestSearchOfTwoNodes has one node find at once what was sent through the other, and go on when the one
// that keeps the index ends.
func TestSearchOfTwoNodes(t *testing.T) {
	ofTwoNodes(t, func(t *testing.T, one, two *story.Server) {
		alice := one.User("alice")
		there := alice.Through(two)
		room := alice.CreatesRoom()
		for i := range 5 {
			said := alice.Says(room, fmt.Sprint("hazel", i))
			if got := foundIDs(looksUntil(there, fmt.Sprintf(`"search_term":"hazel%d"`, i), numbers(1))); !slices.Equal(got, []string{said}) {
				t.Errorf("the other node finds %v", got)
			}
		}
		one.Stop()
		said := there.Sends(room, "another", "chestnut")
		if got := foundIDs(looksUntil(there, `"search_term":"chestnut"`, numbers(1))); !slices.Equal(got, []string{said}) {
			t.Errorf("nobody has taken over the index: found %v", got)
		}
	})
}
