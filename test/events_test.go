package test

import (
	"net/url"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// eventsAfter asks for events after a token, and waits for them.
func eventsAfter(u *story.User, token, room string) *story.Answer {
	return u.Does("GET", "/events?"+url.Values{"from": {token}, "timeout": {"30000"}, "room_id": {room}}.Encode(), nil)
}

func TestOldClientsListenToEvents(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		first, second := alice.CreatesRoom(), alice.CreatesRoom()
		alice.Invites(second, bob)
		bob.Joins(first)
		alice.Says(first, "one")
		bob.Must("PUT", "/user/"+bob.ID+"/account_data/org.example", `{"a":1}`)

		all := bob.Reads("/initialSync?limit=2")
		joined, _ := all.At("rooms").Find(func(r story.JSON) bool { return r.At("room_id").Text() == first })
		if joined.At("membership").Text() != "join" || joined.At("messages", "chunk", -1, "content", "body").Text() != "one" ||
			len(joined.At("messages", "chunk").List()) != 2 || len(joined.At("state").List()) < 5 {
			t.Errorf("bob's room is %s", joined)
		}
		asked, _ := all.At("rooms").Find(func(r story.JSON) bool { return r.At("room_id").Text() == second })
		if asked.At("membership").Text() != "invite" || asked.At("invite", "sender").Text() != alice.ID || asked.Has("state") {
			t.Errorf("the room that bob is invited to is %s", asked)
		}
		if d := all.At("account_data", 0, "content", "a"); d.Int() != 1 {
			t.Errorf("the account data is %s", all.At("account_data"))
		}
		older := bob.Messages(first, "dir=b&limit=1&from="+joined.At("messages", "start").Text())
		if older.At("chunk", 0, "type").Text() == "m.room.message" {
			t.Errorf("before the first messages is %s", older)
		}

		alice.Says(second, "not for bob")
		two, three := alice.Says(first, "two"), bob.Says(first, "three")
		news := eventsAfter(bob, all.At("end").Text(), "")
		if got := news.At("chunk").Texts("event_id"); len(got) != 2 || got[0] != two || got[1] != three {
			t.Errorf("after the first answer came %s", news)
		}
		waiting := make(chan *story.Answer)
		go func() { waiting <- eventsAfter(bob, news.At("end").Text(), "") }()
		four := alice.Says(first, "four")
		if a := <-waiting; a.At("chunk", 0, "event_id").Text() != four {
			t.Errorf("who waits is told %s", a)
		}
		if e := bob.Reads(story.Path("events", four)); e.At("room_id").Text() != first {
			t.Errorf("the event is %s", e)
		}
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("events", alice.Says(second, "secret")), nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("events", "$nothing"), nil)
		bob.IsRefused(matrix.CodeInvalidParam, 400, "GET", "/events?from=nonsense", nil)
		bob.IsRefused(matrix.CodeInvalidParam, 400, "GET", "/events?timeout=soon", nil)
		bob.IsRefused(matrix.CodeInvalidParam, 400, "GET", "/initialSync?limit=-1", nil)
	})
}

// TestGuestPeeks follows a room that the world may read, by a guest who is not in it.
func TestGuestPeeks(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withGuests)
		alice, eve := hs.User("alice"), guest(hs)
		room := alice.CreatesRoom(map[string]any{"initial_state": []any{map[string]any{
			"type": "m.room.history_visibility", "state_key": "", "content": map[string]any{"history_visibility": "world_readable"},
		}}})
		closed := alice.CreatesRoom()
		alice.Says(room, "before")
		peek := eve.Reads(story.Path("rooms", room, "initialSync"))
		one, two := alice.Says(room, "one"), alice.Says(room, "two")
		news := eventsAfter(eve, peek.At("messages", "end").Text(), room)
		if got := news.At("chunk").Texts("event_id"); len(got) != 2 || got[0] != one || got[1] != two {
			t.Errorf("the guest sees %s", news)
		}
		eve.IsRefused(matrix.CodeForbidden, 403, "GET", "/events?room_id="+url.QueryEscape(closed), nil)
		eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, "GET", "/initialSync", nil)
	})
}

func TestServerTellsWhoHelps(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		hs.Nobody().IsRefused(matrix.CodeNotFound, 404, "GET", "/.well-known/matrix/support", nil)
		hs.Stop()
		hs = story.Start(t, dsn, func(c *config.Config) {
			c.Support = config.Support{Page: "https://example.org/help", Contacts: []config.Contact{{Role: "security", Email: "root@example.org"}}}
		})
		want := `{"contacts":[{"email_address":"root@example.org","role":"m.role.security"}],"support_page":"https://example.org/help"}`
		if a := hs.Nobody().Reads("/.well-known/matrix/support"); a.String() != want {
			t.Errorf("who needs help is told %s", a)
		}
	})
}
