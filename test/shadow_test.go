package test

import (
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestShadowBannedUserReachesNobody has a user answered as others are, and heard by nobody.
func TestShadowBannedUserReachesNobody(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob, eve := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob"), hs.User("eve")
		room, theirs := alice.CreatesRoom(), eve.CreatesRoom()
		bob.Joins(room)
		eve.Joins(room)
		bob.Joins(theirs)
		said := eve.Says(room, "heard")
		alice.Sees(room, "heard")
		delay := eve.Must("PUT", story.Path("rooms", room, "send", "m.room.message", "later")+"?org.matrix.msc4140.delay=3600000", `{"msgtype":"m.text","body":"unheard later"}`).At("delay_id").Text()
		socket := eve.Listens()

		path := adminV1 + "users/" + eve.ID + "/shadow_ban"
		root.Must("POST", path, `{}`)
		if u := root.Reads(adminV2 + "users/" + eve.ID); !u.At("shadow_banned").Bool() {
			t.Errorf("the account is %s", u)
		}
		first := eve.Sends(room, "t1", "unheard")
		if again := eve.Sends(room, "t1", "unheard"); again != first {
			t.Errorf("a repeated message is %s, and was %s", again, first)
		}
		if other := eve.Sends(room, "t2", "unheard"); other == first {
			t.Error("two messages are the same")
		}
		if a := socket.Asks(map[string]any{"type": "send", "room_id": room, "event_type": "m.room.message", "txn_id": "s1", "content": map[string]any{"msgtype": "m.text", "body": "unheard"}}); a.At("result", "event_id").Text() == "" {
			t.Errorf("over a socket the answer is %s", a)
		}
		eve.Must("PUT", story.Path("rooms", room, "typing", eve.ID), `{"typing":true}`)
		eve.Redacts(room, said, "unheard")
		eve.SetsState(theirs, "m.room.topic", "", map[string]any{"topic": "unheard"})
		eve.Invites(theirs, alice)
		eve.Must("PUT", story.Path("rooms", theirs, "state", "m.room.member", alice.ID), `{"membership":"invite"}`)
		eve.Must("POST", story.Path("rooms", theirs, "invite"), `{"user_id":"@somebody:elsewhere.org"}`)
		eve.Kicks(theirs, bob, "unheard")
		eve.Bans(theirs, bob, "unheard")
		eve.Must("PUT", "/profile/"+eve.ID+"/displayname", `{"displayname":"unheard"}`)
		eve.Must("PUT", "/directory/list/room/"+theirs, `{"visibility":"public"}`)
		eve.Must("POST", "/_matrix/client/v1/delayed_events/"+delay+"/send", `{}`)
		private := eve.CreatesRoom(map[string]any{"preset": "private_chat", "invite": []string{alice.ID}, "visibility": "public"})
		eve.Must("PUT", "/sendToDevice/org.example/1", map[string]any{"messages": map[string]any{alice.ID: map[string]any{"*": map[string]any{"body": "unheard"}}, eve.ID: map[string]any{"*": map[string]any{"body": "own"}}}})

		// What would be refused is.
		eve.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "state", "m.room.name"), `{"name":"unheard"}`)
		eve.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "kick"), `{"user_id":"`+bob.ID+`"}`)
		eve.IsRefused(matrix.CodeBadState, 403, "POST", story.Path("rooms", theirs, "unban"), `{"user_id":"`+bob.ID+`"}`)

		alice.Says(room, "the last")
		bob.Sees(room, "the last")
		bob.DoesNotSee(room, "unheard")
		bob.DoesNotSee(room, "unheard later")
		if e := bob.Reads(story.Path("rooms", room, "event", said)); !e.At("content").Has("body") {
			t.Errorf("what was said before is %s", e)
		}
		if m := bob.State(theirs, "m.room.member", bob.ID); m.At("membership").Text() != "join" {
			t.Errorf("bob is %s", m)
		}
		if m := bob.State(room, "m.room.member", eve.ID); m.At("displayname").Text() == "unheard" {
			t.Errorf("eve is %s", m)
		}
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", theirs, "state", "m.room.topic"), nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", theirs, "state", "m.room.member", alice.ID), nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", room, "event", first), nil)
		if list := bob.Reads("/publicRooms"); len(list.At("chunk").List()) > 0 {
			t.Errorf("the directory has %s", list)
		}
		s := alice.SyncsFrom("")
		if len(s.At("rooms", "invite").Keys()) > 0 || len(s.At("to_device", "events").List()) > 0 {
			t.Errorf("alice is told %s", s)
		}
		if own := eve.SyncsFrom("").At("to_device", "events"); own.At(0, "content", "body").Text() != "own" {
			t.Errorf("eve's own device is told %s", own)
		}
		// They read, join and leave as ever.
		eve.Sees(room, "the last")
		open := alice.CreatesRoom()
		eve.Joins(open)
		alice.SeesMembership(open, eve, "join")
		eve.Leaves(open)
		alice.SeesMembership(open, eve, "leave")
		eve.Leaves(private)

		hs.Restart()
		eve.Says(room, "unheard")
		root.Must("DELETE", path, nil)
		eve.Says(room, "heard again")
		bob.Sees(room, "heard again")
		bob.DoesNotSee(room, "unheard")
		root.IsRefused(matrix.CodeForbidden, 403, "POST", adminV1+"users/"+root.ID+"/shadow_ban", `{}`)
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", path, `{}`)
	})
}

// TestAdministratorSetsTheLimitOfAUser gives one user another limit for messages, on both nodes and over a restart.
func TestAdministratorSetsTheLimitOfAUser(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret, func(c *config.Config) {
			c.RateLimits = config.RateLimits{Enabled: true, Message: config.LimitClass{Account: config.Rate{PerSecond: 0.001, Burst: 2}}}
		})
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		room := alice.CreatesRoom()
		path := adminV1 + "users/" + alice.ID + "/override_ratelimit"
		send := func(txn string) int {
			t.Helper()
			return alice.Does("PUT", story.Path("rooms", room, "send", "m.room.message", txn), `{"msgtype":"m.text","body":"hi"}`).Status
		}
		if a := root.Reads(path); a.String() != "{}" {
			t.Errorf("at first the limit is %s", a)
		}
		if s := []int{send("a"), send("b"), send("c")}; s[1] != 200 || s[2] != 429 {
			t.Errorf("the settings let pass %v", s)
		}
		if a := root.Must("POST", path, `{}`); a.At("messages_per_second").Int() != 0 || !a.Has("burst_count") {
			t.Errorf("the answer is %s", a)
		}
		if s := []int{send("d"), send("e"), send("f"), send("g")}; s[3] != 200 {
			t.Errorf("without a limit pass %v", s)
		}
		root.Must("POST", path, `{"messages_per_second":1,"burst_count":10000}`)
		hs.Restart()
		if a := root.Reads(path); a.At("messages_per_second").Int() != 1 || a.At("burst_count").Int() != 10000 {
			t.Errorf("after a restart the limit is %s", a)
		}
		for _, txn := range []string{"h", "i", "j", "k", "l", "m"} {
			if s := send(txn); s != 200 {
				t.Errorf("with a limit of their own %s is answered by %d", txn, s)
			}
		}
		root.Must("DELETE", path, nil)
		if a := root.Reads(path); a.String() != "{}" {
			t.Errorf("at last the limit is %s", a)
		}
		send("n")
		send("o")
		if s := send("p"); s != 429 {
			t.Errorf("by the settings again the third is answered by %d", s)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", path, `{}`)
	})
}
