package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// gateway is a push gateway, over real HTTP.
type gateway struct {
	*httptest.Server
	told chan map[string]any

	mu      sync.Mutex
	failing int      // so many requests fail yet
	rejects []string // pushkeys
}

func startGateway(t *testing.T) *gateway {
	g := &gateway{told: make(chan map[string]any, 100)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Notification map[string]any `json:"notification"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Method != "POST" || r.URL.Path != "/_matrix/push/v1/notify" {
			t.Errorf("the gateway is asked %s %s, %v", r.Method, r.URL, err)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.failing > 0 {
			g.failing--
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		g.told <- body.Notification
		_ = json.NewEncoder(w).Encode(map[string]any{"rejected": append([]string{}, g.rejects...)})
	}))
	t.Cleanup(g.Close)
	return g
}

// next waits for the next notification.
func (g *gateway) next(t *testing.T) story.JSON {
	t.Helper()
	text, err := json.Marshal(arrives(t, g.told, "the gateway to be told something"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := story.ParseJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func (g *gateway) set(failing int, rejects ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failing, g.rejects = failing, rejects
}

func setsPusher(u *story.User, to, key, more string) {
	u.Must("POST", "/pushers/set", fmt.Sprintf(`{"kind":"http","app_id":"org.example","pushkey":%q,"app_display_name":"A","device_display_name":"D",
		"lang":"en","data":{"url":"%s/_matrix/push/v1/notify","x":1%s}}`, key, to, more))
}

func TestPushGateway(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		g := startGateway(t)
		hs := story.Start(t, dsn, func(c *config.Config) { c.Federation.AllowPrivateAddresses = true })
		alice, bob := hs.User("alice"), hs.User("bob")
		alice.Must("PUT", story.Path("profile", alice.ID, "displayname"), `{"displayname":"Alice"}`)
		room := alice.CreatesRoom(map[string]any{"name": "Tea"})
		setsPusher(bob, g.URL, "full", "")

		carol := hs.User("carol")
		wantsInvites(bob, inviteFilter, map[string]any{"ignored_users": []string{carol.ID}})
		carol.Invites(carol.CreatesRoom(private()), bob) // of which bob hears nothing
		alice.Invites(room, bob)
		if n := g.next(t); n.At("type").Text() != "m.room.member" || n.At("sender").Text() != alice.ID || !n.At("user_is_target").Bool() || n.At("prio").Text() != "high" {
			t.Errorf("the invite is told as %s", n)
		}
		bob.Joins(room)
		g.set(2) // and it is tried again
		first := alice.Says(room, "hello")
		n := g.next(t)
		if n.At("event_id").Text() != first || n.At("room_id").Text() != room || n.At("type").Text() != "m.room.message" || n.At("sender").Text() != alice.ID ||
			n.At("sender_display_name").Text() != "Alice" || n.At("room_name").Text() != "Tea" || n.At("content", "body").Text() != "hello" ||
			n.At("counts", "unread").Int() != 1 {
			t.Errorf("the message is told as %s", n)
		}
		d := n.At("devices", 0)
		if d.At("app_id").Text() != "org.example" || d.At("pushkey").Text() != "full" || d.At("data", "x").Int() != 1 || d.At("data", "url").Text() != "" ||
			d.At("tweaks", "sound").Text() != "default" || d.At("pushkey_ts").Int() == 0 {
			t.Errorf("the device is told as %s", d)
		}
		bob.Says(room, "of one's own") // which nobody is told of, and which reads up to there
		second := alice.Says(room, "again")
		if n := g.next(t); n.At("event_id").Text() != second {
			t.Errorf("next is told %s", n)
		}
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", second), `{}`)
		if n := g.next(t); n.At("event_id").Text() != "" || n.At("counts", "unread").Int() != 0 || n.At("devices", 0, "pushkey").Text() != "full" {
			t.Errorf("after reading is told %s", n)
		}

		setsPusher(bob, g.URL, "full", `,"format":"event_id_only"`)
		g.set(0, "full")
		third := alice.Says(room, "secret")
		n = g.next(t)
		if n.At("event_id").Text() != third || n.At("room_id").Text() != room || n.At("content").String() != "null" || n.At("sender").Text() != "" || n.At("counts", "unread").Int() != 1 {
			t.Errorf("by id is told %s", n)
		}
		bob.Finds("the end of the pusher whose key the gateway rejected", "/pushers", func(a story.JSON) bool { return len(a.At("pushers").List()) == 0 })

		list := bob.Must("GET", "/notifications?limit=2", nil)
		events := list.At("notifications").List()
		if len(events) != 2 || events[0].At("event", "event_id").Text() != third || events[0].At("read").Bool() || events[1].At("event", "event_id").Text() != second ||
			!events[1].At("read").Bool() || events[1].At("room_id").Text() != room {
			t.Fatalf("bob was notified of %s", list)
		}
		rest := bob.Must("GET", "/notifications?from="+list.At("next_token").Text(), nil)
		if events := rest.At("notifications").List(); len(events) != 1 || events[0].At("event", "event_id").Text() != first || rest.At("next_token").Text() != "" {
			t.Errorf("before that bob was notified of %s", rest)
		}
		if got := bob.Must("GET", "/notifications?only=highlight", nil).At("notifications").List(); len(got) != 0 {
			t.Errorf("bob was highlighted: %s", got)
		}
		bob.IsRefused(matrix.CodeInvalidParam, 400, "GET", "/notifications?from=x", nil)
	})
}

// TestRoomRulesFollowAnUpgrade is about what a user has noted of a room: rules, tags, and that it is a direct chat. It is so
// of the room that replaces it, but for a room that only says so.
func TestRoomRulesFollowAnUpgrade(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"preset": "public_chat"})
		bob.Joins(room)
		bob.Must("PUT", story.Path("pushrules", "global", "room", room), `{"actions":[]}`)
		bob.Must("PUT", story.Path("user", bob.ID, "rooms", room, "tags", "m.favourite"), `{"order":0.5}`)
		alice.Must("PUT", story.Path("user", alice.ID, "rooms", room, "tags", "m.lowpriority"), `{}`)
		direct := story.Path("user", bob.ID, "account_data", "m.direct")
		bob.Must("PUT", direct, map[string]any{alice.ID: []string{room}, "@carol:localhost": []string{"!other:localhost"}})
		follows := func(next string) {
			bob.Waits("the rule of the new room", func(a story.JSON) bool {
				e, _ := a.At("account_data", "events").Find(func(e story.JSON) bool { return e.At("type").Text() == "m.push_rules" })
				_, found := e.At("content", "global", "room").Find(func(r story.JSON) bool { return r.At("rule_id").Text() == next })
				return found
			})
		}
		forged := alice.CreatesRoom(map[string]any{"creation_content": map[string]any{"predecessor": map[string]any{"room_id": room}}})
		bob.Joins(forged)
		follows(forged)
		next := alice.Must("POST", story.Path("rooms", room, "upgrade"), `{"new_version":"11"}`).At("replacement_room").Text()
		bob.Joins(next)
		follows(next)
		alice.Finds("the tag of who upgraded the room", story.Path("user", alice.ID, "rooms", next, "tags"), func(a story.JSON) bool {
			return a.At("tags", "m.lowpriority").There()
		})
		if chats := bob.Reads(direct); !slices.Equal(chats.At(alice.ID).Texts(), []string{room, next}) || len(chats.At("@carol:localhost").List()) != 1 {
			t.Errorf("the direct chats are %s", chats)
		}
		for in, want := range map[string]bool{next: true, forged: false} {
			tags := bob.Reads(story.Path("user", bob.ID, "rooms", in, "tags"))
			if has := tags.At("tags", "m.favourite").There(); has != want {
				t.Errorf("the tags of %s are %s", in, tags)
			}
		}
	})
}

// TestPushersKeepOffPrivateAddresses has a pusher whose gateway is of this machine, as an outsider might.
func TestPushersKeepOffPrivateAddresses(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		g := startGateway(t)
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		alice.Invites(room, bob)
		bob.Joins(room)
		setsPusher(bob, g.URL, "k", "")
		alice.Says(room, "hello")
		bob.Sees(room, "hello")
		time.Sleep(time.Second)
		if len(g.told) > 0 {
			t.Error("the gateway was told")
		}
	})
}
