package test

import (
	"fmt"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

const adminV1, adminV2 = "/_synapse/admin/v1/", "/_synapse/admin/v2/"

// ends waits for the end of a task, and gives how it ended.
func ends(u *story.User, path string) story.JSON {
	return u.Finds("the end of a task", path, func(a story.JSON) bool {
		return a.At("status").Text() == "complete" || a.At("status").Text() == "failed"
	})
}

func TestAdministratorDeletesARoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob, carol := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom(map[string]any{"room_alias_name": "bad", "name": "Bad", "visibility": "public"})
		bob.Joins(room)
		alice.Invites(room, carol)
		event := alice.Says(room, "something unlawful")
		for i := range 600 { // more than one step
			alice.Says(room, fmt.Sprint("line ", i))
		}
		bob.Syncs()
		alice.IsRefused(matrix.CodeForbidden, 403, "DELETE", adminV2+"rooms/"+room, `{}`)
		root.IsRefused(matrix.CodeNotFound, 404, "DELETE", adminV2+"rooms/!nowhere:localhost", `{}`)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV2+"rooms/"+room+"/delete_status", nil)

		id := root.Must("DELETE", adminV2+"rooms/"+room, `{"block":true,"new_room_user_id":"`+root.ID+`","message":"it had to end"}`).At("delete_id").Text()
		end := ends(root, adminV2+"rooms/delete_status/"+id)
		if end.At("status").Text() != "complete" {
			t.Fatalf("the deletion ended as %s", end)
		}
		done := end.At("shutdown_room")
		if kicked := done.At("kicked_users").Texts(); !slices.Equal(kicked, []string{alice.ID, bob.ID, carol.ID}) || done.At("local_aliases", 0).Text() != "#bad:localhost" {
			t.Errorf("the deletion did %s", done)
		}
		if all := root.Reads(adminV2 + "rooms/" + room + "/delete_status").At("results"); all.At(0, "delete_id").Text() != id {
			t.Errorf("the deletions of the room are %s", all)
		}
		followed := done.At("new_room_id").Text()
		bob.Sees(followed, "it had to end")
		if s := bob.Syncs(); s.At("rooms", "join", room).There() {
			t.Errorf("who had to leave is told %s", s)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`)
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", story.Path("rooms", room, "messages")+"?dir=b", nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", room, "event", event), nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", "/directory/room/%23bad:localhost", nil)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"rooms/"+room, nil)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"fetch_event/"+event, nil)
		if found := looksFor(bob, `"search_term":"unlawful"`, ""); len(foundIDs(found)) > 0 {
			t.Errorf("a search finds %s", found)
		}
		again := root.Must("DELETE", adminV2+"rooms/"+room, `{"block":true}`).At("delete_id").Text()
		if end := ends(root, adminV2+"rooms/delete_status/"+again); end.At("status").Text() != "complete" {
			t.Errorf("the second deletion ended as %s", end)
		}
		hs.Restart()
		alice.SyncsFrom("")
		bob.Says(bob.CreatesRoom(), "life goes on")
	})
}

// TestPurgedRoomBeginsAnew: who comes into a room again that was removed has nothing of what they had of it.
func TestPurgedRoomBeginsAnew(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
		b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn, withSecret)
		alice, bob, root := a.User("alice"), b.User("bob"), administrator(t, b, "root")
		room := alice.CreatesRoom()
		joinsVia(bob, room, a)
		last := ""
		for i := range 20 {
			last = alice.Says(room, fmt.Sprint("line ", i))
		}
		bob.Sees(room, "line 19")
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", last), `{}`)
		alice.Waits("bob's receipt", hasReceipt(room, last, "m.read", bob.ID))
		bob.Must("PUT", story.Path("user", bob.ID, "rooms", room, "account_data", "org.example.note"), `{"note":"mine"}`)

		id := root.Must("DELETE", adminV2+"rooms/"+room, `{}`).At("delete_id").Text()
		if end := ends(root, adminV2+"rooms/delete_status/"+id); end.At("status").Text() != "complete" {
			t.Fatalf("the deletion ended as %s", end)
		}
		joinsVia(bob, room, a)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("user", bob.ID, "rooms", room, "account_data", "org.example.note"), nil)
		fresh := alice.Says(room, "welcome back")
		bob.Sees(room, "welcome back")
		if n := bob.SyncsFrom("").At("rooms", "join", room, "unread_notifications", "notification_count").Int(); n == 0 {
			t.Error("bob has nothing to read")
		}
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", fresh), `{}`)
		alice.Waits("bob's new receipt", hasReceipt(room, fresh, "m.read", bob.ID))
	})
}

func TestAdministratorBlocksARoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		root.Must("PUT", adminV1+"rooms/"+room+"/block", `{"block":true}`)
		if b := root.Reads(adminV1 + "rooms/" + room + "/block"); !b.At("block").Bool() || b.At("user_id").Text() != root.ID {
			t.Errorf("the block is %s", b)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`)
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "invite"), `{"user_id":"`+bob.ID+`"}`)
		alice.Says(room, "who is in it stays")
		alice.Must("PUT", "/profile/"+alice.ID+"/displayname", `{"displayname":"Alice"}`)
		root.IsRefused(matrix.CodeMissingParam, 400, "PUT", adminV1+"rooms/"+room+"/block", `{}`)
		root.Must("PUT", adminV1+"rooms/"+room+"/block", `{"block":false}`)
		bob.Joins(room)
		root.Must("PUT", adminV1+"rooms/!elsewhere:example.org/block", `{"block":true}`)
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", "/join/!elsewhere:example.org", `{}`)
	})
}

func TestAdministratorTakesARoomOver(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		for _, version := range []string{"11", "12"} {
			room := alice.CreatesRoom(map[string]any{"preset": "private_chat", "room_version": version})
			root.Must("POST", adminV1+"rooms/"+room+"/make_room_admin", `{}`)
			root.Joins(room)
			if levels := root.State(room, "m.room.power_levels", ""); levels.At("users", root.ID).Int() < 100 {
				t.Errorf("in version %s the levels are %s", version, levels)
			}
			root.SetsState(room, "m.room.name", "", map[string]any{"name": "mine"})
			root.IsRefused(matrix.CodeForbidden, 403, "POST", adminV1+"rooms/!nowhere:localhost/make_room_admin", `{}`)
		}
	})
}

func TestAdministratorPurgesHistory(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		room := alice.CreatesRoom()
		old := alice.Says(room, "old")
		alice.SendsEvent(room, "m.reaction", "r", map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": old, "key": "+"}})
		for i := range 600 {
			alice.Says(room, fmt.Sprint("line ", i))
		}
		kept := alice.Says(room, "kept")
		alice.Says(room, "new")
		path := adminV1 + "purge_history/" + room
		root.IsRefused(matrix.CodeMissingParam, 400, "POST", path, `{}`)
		root.IsRefused(matrix.CodeNotFound, 404, "POST", path, `{"purge_up_to_event_id":"$nothing"}`)

		purge := func(body string) {
			t.Helper()
			id := root.Must("POST", path, body).At("purge_id").Text()
			if end := ends(root, adminV1+"purge_history_status/"+id); end.At("status").Text() != "complete" {
				t.Fatalf("the purge ended as %s", end)
			}
		}
		purge(`{"purge_up_to_event_id":"` + kept + `"}`)
		alice.Reads(story.Path("rooms", room, "event", old)) // ours stay unless somebody says otherwise
		purge(`{"purge_up_to_event_id":"` + kept + `","delete_local_events":true}`)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", room, "event", old), nil)
		var said []string
		for _, e := range alice.History(room) {
			if e.At("type").Text() == "m.room.message" {
				said = append(said, e.At("content", "body").Text())
			}
		}
		if !slices.Equal(said, []string{"kept", "new"}) {
			t.Errorf("what is left is %d messages, the first %q", len(said), said[0])
		}
		if alice.State(room, "m.room.create", "").String() == "" {
			t.Error("the state is gone")
		}
		purge(`{"purge_up_to_ts":99999999999999,"delete_local_events":true}`)
		alice.Says(room, "life goes on")
	})
}

func TestAdministratorRedactsAUser(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, eve := administrator(t, hs, "root"), hs.User("alice"), hs.User("eve")
		first, second := alice.CreatesRoom(), alice.CreatesRoom()
		eve.Joins(first)
		eve.Joins(second)
		spam := []string{eve.Says(first, "spam"), eve.Says(second, "spam")}
		ham := alice.Says(first, "ham")
		redact := func(body string) story.JSON {
			t.Helper()
			id := root.Must("POST", adminV1+"user/"+eve.ID+"/redact", body).At("redact_id").Text()
			return ends(root, adminV1+"user/redact_status/"+id)
		}
		root.IsRefused(matrix.CodeMissingParam, 400, "POST", adminV1+"user/"+eve.ID+"/redact", `{}`)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"user/redact_status/nothing", nil)
		if end := redact(`{"rooms":["` + first + `"],"use_admin":true}`); len(end.At("failed_redactions").Keys()) == 0 {
			t.Errorf("who is not in the room redacted %s", end)
		}
		if end := redact(`{"rooms":[],"reason":"spam"}`); end.At("status").Text() != "complete" || len(end.At("failed_redactions").Keys()) > 0 {
			t.Errorf("the redaction ended as %s", end)
		}
		for i, room := range []string{first, second} {
			if e := alice.Reads(story.Path("rooms", room, "event", spam[i])); e.At("content").Has("body") || e.At("unsigned", "redacted_because", "content", "reason").Text() != "spam" {
				t.Errorf("what was redacted is %s", e)
			}
		}
		if e := alice.Reads(story.Path("rooms", first, "event", ham)); !e.At("content").Has("body") {
			t.Errorf("somebody else's message is %s", e)
		}
	})
}

func TestAdministratorLooksIntoRoomsAndAccounts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat", "invite": []string{bob.ID}})
		event := alice.Says(room, "secret")
		alice.Must("POST", story.Path("rooms", room, "report", event), `{"reason":"ugly"}`)
		alice.Must("PUT", "/user/"+alice.ID+"/account_data/org.example", `{"a":1}`)
		alice.Must("PUT", "/user/"+alice.ID+"/rooms/"+room+"/account_data/org.example", `{"b":1}`)

		page := root.Reads(adminV1 + "rooms/" + room + "/messages?dir=b&limit=1")
		if page.At("chunk", 0, "event_id").Text() != event {
			t.Errorf("the newest message is %s", page)
		}
		if c := root.Reads(adminV1 + "rooms/" + room + "/context/" + event); c.At("event", "content", "body").Text() != "secret" || len(c.At("state").List()) == 0 {
			t.Errorf("the context is %s", c)
		}
		if e := root.Reads(adminV1 + "rooms/" + room + "/timestamp_to_event?ts=99999999999999&dir=b"); e.At("event_id").Text() != event {
			t.Errorf("the last event is %s", e)
		}
		if e := root.Reads(adminV1 + "fetch_event/" + event); e.At("event", "sender").Text() != alice.ID {
			t.Errorf("the event is %s", e)
		}
		root.IsRefused(matrix.CodeForbidden, 403, "GET", story.Path("rooms", room, "messages")+"?dir=b", nil)
		report := root.Reads(adminV1+"event_reports").At("event_reports", 0, "id").String()
		if r := root.Reads(adminV1 + "event_reports/" + report); r.At("event_json", "content", "body").Text() != "secret" || r.At("reason").Text() != "ugly" {
			t.Errorf("the report is %s", r)
		}
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"event_reports/1234567", nil)

		if m := root.Reads(adminV1+"users/"+bob.ID+"/memberships").At("memberships", room); m.Text() != "invite" {
			t.Errorf("bob is %s", m)
		}
		if d := root.Reads(adminV1 + "users/" + alice.ID + "/accountdata").At("account_data"); d.At("global", "org.example", "a").Int() != 1 || d.At("rooms", room, "org.example", "b").Int() != 1 {
			t.Errorf("the account data is %s", d)
		}
		if p := root.Reads(adminV1 + "users/" + alice.ID + "/pushers"); p.At("total").Int() != 0 || !p.Has("pushers") {
			t.Errorf("the pushers are %s", p)
		}
		other := *alice
		other.Token = root.Must("POST", adminV1+"users/"+alice.ID+"/login", `{}`).At("access_token").Text()
		if who := other.Reads("/account/whoami"); who.At("user_id").Text() != alice.ID {
			t.Errorf("the session is of %s", who)
		}
		for _, path := range []string{"memberships", "pushers", "accountdata"} {
			root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"users/@nobody:localhost/"+path, nil)
			alice.IsRefused(matrix.CodeForbidden, 403, "GET", adminV1+"users/"+bob.ID+"/"+path, nil)
		}
	})
}
