package test

import (
	"strings"
	"sync"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

const noticePath = "/_synapse/admin/v1/send_server_notice"

func noticeTo(u *story.User, text string) map[string]any {
	return map[string]any{"user_id": u.ID, "content": map[string]any{"msgtype": "m.text", "body": text}}
}

// invited syncs, and gives the one room that the user is invited to.
func invited(t *testing.T, u *story.User) string {
	t.Helper()
	rooms := u.Syncs().At("rooms", "invite").Keys()
	if len(rooms) != 1 {
		t.Fatalf("%s is invited to %d rooms, and not to one", u.Name, len(rooms))
	}
	return rooms[0]
}

func TestServerTellsUsersSomething(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", noticePath, nil)

		wantsInvites(alice, noInvites, map[string]any{"default_action": "block"}) // which is not for the server's own
		event := root.Must("POST", noticePath, noticeTo(alice, "the cellar is flooded")).At("event_id").Text()
		room := invited(t, alice)
		alice.IsRefused(matrix.CodeCannotLeaveServerNoticeRoom, 403, "POST", story.Path("rooms", room, "leave"), `{}`)
		alice.IsRefused(matrix.CodeCannotLeaveServerNoticeRoom, 403, "PUT",
			story.Path("rooms", room, "state", "m.room.member", alice.ID), `{"membership":"leave"}`)
		alice.Joins(room)
		if e := alice.Sees(room, "the cellar is flooded"); e.At("event_id").Text() != event || e.At("sender").Text() != "@_server:localhost" {
			t.Errorf("the notice is %s, and its answer named %s", e, event)
		}
		if tags := alice.Reads("/user/" + alice.ID + "/rooms/" + room + "/tags").At("tags"); !tags.Has("m.server_notice") {
			t.Errorf("the room's tags are %s", tags)
		}
		if p := alice.Reads("/profile/@_server:localhost"); p.At("displayname").Text() != "Server Notices" {
			t.Errorf("the server calls itself %s", p)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "send", "m.room.message", "t"), `{"msgtype":"m.text","body":"help"}`)
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "invite"), `{"user_id":"`+bob.ID+`"}`)

		root.Must("POST", noticePath, noticeTo(alice, "it is dry again"))
		alice.Sees(room, "it is dry again")
		alice.Leaves(room)
		first := root.Must("PUT", noticePath+"/t1", noticeTo(alice, "really"))
		if again := root.Must("PUT", noticePath+"/t1", noticeTo(alice, "really")); again.String() != first.String() {
			t.Errorf("a repeated transaction made %s, then %s", first, again)
		}
		if same := invited(t, alice); same != room {
			t.Errorf("who has left %s is invited to %s", room, same)
		}
		root.Must("POST", noticePath, noticeTo(bob, "hello, Bob"))
		if other := invited(t, bob); other == room {
			t.Error("two users have one room of notices")
		}
	})
}

func TestNoticesThatCannotBe(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		for name, c := range map[string]struct {
			code   matrix.Code
			status int
			body   string
		}{
			"no user":          {matrix.CodeMissingParam, 400, `{"content":{}}`},
			"no content":       {matrix.CodeMissingParam, 400, `{"user_id":"@alice:localhost"}`},
			"not an object":    {matrix.CodeBadJSON, 400, `{"user_id":"@alice:localhost","content":[]}`},
			"not an id":        {matrix.CodeInvalidParam, 400, `{"user_id":"alice","content":{}}`},
			"another server's": {matrix.CodeInvalidParam, 400, `{"user_id":"@alice:elsewhere.org","content":{}}`},
			"nobody":           {matrix.CodeNotFound, 404, `{"user_id":"@nobody:localhost","content":{}}`},
			"itself":           {matrix.CodeNotFound, 404, `{"user_id":"@_server:localhost","content":{}}`},
			"too large":        {matrix.CodeTooLarge, 413, `{"user_id":"@alice:localhost","content":{"body":"` + strings.Repeat("x", 70_000) + `"}}`},
		} {
			t.Run(name, func(t *testing.T) { root.IsRefused(c.code, c.status, "POST", noticePath, c.body) })
		}
		hs.Nobody().IsRefused(matrix.CodeExclusive, 400, "POST", "/register",
			`{"username":"_server","password":"a good password","auth":{"type":"m.login.dummy"}}`)
		root.Must("POST", "/_synapse/admin/v1/deactivate/"+alice.ID, `{}`)
		root.IsRefused(matrix.CodeNotFound, 404, "POST", noticePath, noticeTo(alice, "farewell"))
	})
}

func TestServerThatSendsNoNotices(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret, func(c *config.Config) { c.Notices.Enabled = false })
		root := administrator(t, hs, "root")
		root.IsRefused(matrix.CodeUnknown, 400, "POST", noticePath, noticeTo(root, "hello"))
	})
}

// TestManyNoticesMakeOneRoom sends notices at the same time to somebody who has no room of notices yet.
func TestManyNoticesMakeOneRoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if a := root.Does("POST", noticePath, noticeTo(alice, "all at once")); a.Status != 200 {
					t.Errorf("a notice is answered by %d %s", a.Status, a)
				}
			})
		}
		all.Wait()
		invited(t, alice)
	})
}

// TestWhoEndsTheirAccountLeavesNotices wants the invite, which cannot be refused otherwise, to be gone.
func TestWhoEndsTheirAccountLeavesNotices(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		root.Must("POST", noticePath, noticeTo(alice, "hello"))
		room := invited(t, alice)
		root.Must("POST", "/_synapse/admin/v1/deactivate/"+alice.ID, `{}`)
		root.Finds("the end of the invite", "/_synapse/admin/v1/rooms/"+room+"/state", func(a story.JSON) bool {
			_, found := a.At("state").Find(func(e story.JSON) bool {
				return e.At("state_key").Text() == alice.ID && e.At("content", "membership").Text() == "leave"
			})
			return found
		})
	})
}
