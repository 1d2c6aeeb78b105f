package test

import (
	"net/http"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestAdministratorBringsExtremitiesTogether: another server has sent several events that nothing follows.
func TestAdministratorBringsExtremitiesTogether(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn, withSecret)
		f := story.NewForeign(t)
		f.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) {
			f.Answers(w, 200, map[string]any{"pdus": map[string]any{}})
		})
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		id := alice.CreatesRoom(map[string]any{"room_alias_name": "tea"})
		room := f.Joins(hs, "mallory", id)
		path := adminV1 + "rooms/" + id + "/forward_extremities"
		if a := root.Reads(path); a.At("count").Int() != 1 || a.At("results", 0, "depth").Int() == 0 || a.At("results", 0, "state_group").Int() == 0 {
			t.Errorf("at first there are %s", a)
		}
		if a := root.Must("DELETE", path, nil); a.At("deleted").Int() != 0 {
			t.Errorf("of one are deleted %s", a)
		}
		var branches []any
		for _, text := range []string{"one", "two", "three"} { // all of them follow the join
			branches = append(branches, room.Makes(room.Proto("m.room.message", map[string]any{"msgtype": "m.text", "body": text})))
		}
		sends(t, f, hs, "1", branches)
		for _, text := range []string{"one", "two", "three"} {
			alice.Sees(id, text)
		}
		if a := root.Reads(adminV1 + "rooms/%23tea:" + string(hs.ServerName()) + "/forward_extremities"); a.At("count").Int() != 3 || len(a.At("results").List()) != 3 {
			t.Errorf("there are %s", a)
		}
		if a := root.Must("DELETE", path, nil); a.At("deleted").Int() != 2 {
			t.Errorf("deleted are %s", a)
		}
		if a := root.Reads(path); a.At("count").Int() != 1 {
			t.Errorf("left are %s", a)
		}
		alice.Says(id, "life goes on")
		for _, text := range []string{"one", "two", "three"} {
			alice.Sees(id, text)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "DELETE", path, nil)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"rooms/!nowhere:localhost/forward_extremities", nil)
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", adminV1+"rooms/nowhere/forward_extremities", nil)
	})
}

func TestAdministratorSeesSpacesAndCounts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		private := map[string]any{"preset": "private_chat"}
		space := alice.CreatesRoom(map[string]any{"preset": "private_chat", "creation_content": map[string]any{"type": "m.space"}})
		below := alice.CreatesRoom(private)
		for _, child := range []string{below, "!away:elsewhere.org"} {
			alice.SetsState(space, "m.space.child", child, map[string]any{"via": []string{"localhost"}})
		}
		path := adminV1 + "rooms/" + space + "/hierarchy"
		root.IsRefused(matrix.CodeForbidden, 403, "GET", "/_matrix/client/v1/rooms/"+space+"/hierarchy", nil)
		if all := root.Reads(path).At("rooms"); len(all.List()) != 2 || all.At(1, "room_id").Text() != below || len(all.At(0, "children_state").List()) != 2 {
			t.Errorf("the space has %s", all)
		}
		if page := root.Reads(path + "?limit=1"); len(page.At("rooms").List()) != 1 || page.At("next_batch").Text() == "" {
			t.Errorf("the first page is %s", page)
		}
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?limit=x", nil)
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?max_depth=-1", nil)
		root.IsRefused(matrix.CodeForbidden, 403, "GET", adminV1+"rooms/!nowhere:localhost/hierarchy", nil)

		alice.Invites(below, bob)
		alice.Invites(space, bob)
		bob.Joins(below)
		bob.Leaves(below)
		bob.Joins(space)
		bob.Must("PUT", "/profile/"+bob.ID+"/displayname", `{"displayname":"Bob"}`) // is no joining
		alice.SeesEvent(space, "bob's name", func(e story.JSON) bool { return e.At("content", "displayname").Text() == "Bob" })
		counts := func(u *story.User, what, since string) int64 {
			t.Helper()
			field := map[string]string{"sent_invite_count": "invite_count", "cumulative_joined_room_count": "cumulative_joined_room_count"}[what]
			return root.Reads(adminV1 + "users/" + u.ID + "/" + what + "?from_ts=" + since).At(field).Int()
		}
		for _, c := range []struct {
			user  *story.User
			what  string
			since string
			want  int64
		}{
			{alice, "sent_invite_count", "0", 2}, {bob, "sent_invite_count", "0", 0}, {alice, "sent_invite_count", "99999999999999", 0},
			{bob, "cumulative_joined_room_count", "0", 2}, {bob, "cumulative_joined_room_count", "99999999999999", 0},
		} {
			if n := counts(c.user, c.what, c.since); n != c.want {
				t.Errorf("%s of %s since %s is %d, not %d", c.what, c.user.ID, c.since, n, c.want)
			}
		}
		for _, what := range []string{"sent_invite_count", "cumulative_joined_room_count"} {
			user := adminV1 + "users/" + alice.ID + "/" + what
			root.IsRefused(matrix.CodeMissingParam, 400, "GET", user, nil)
			root.IsRefused(matrix.CodeInvalidParam, 400, "GET", user+"?from_ts=-1", nil)
			root.IsRefused(matrix.CodeInvalidParam, 400, "GET", user+"?from_ts=x", nil)
			root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"users/@nobody:localhost/"+what+"?from_ts=0", nil)
			alice.IsRefused(matrix.CodeForbidden, 403, "GET", user+"?from_ts=0", nil)
		}
	})
}
