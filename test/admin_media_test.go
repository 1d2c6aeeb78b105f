package test

import (
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestAdministratorOverseesMedia(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		upload := func(u *story.User, name, text string) string {
			t.Helper()
			uri := u.Must("POST", "/_matrix/media/v3/upload?filename="+name, text).At("content_uri").Text()
			return strings.TrimPrefix(uri, "mxc://localhost/")
		}
		first, second := upload(alice, "a.txt", "one"), upload(alice, "b.txt", "a second")
		upload(bob, "c.txt", "the third is the largest")

		list := root.Reads(adminV1 + "users/" + alice.ID + "/media?limit=1")
		if list.At("total").Int() != 2 || len(list.At("media").List()) != 1 || list.At("next_token").Text() != "1" || list.At("media", 0, "media_length").Int() == 0 {
			t.Errorf("alice's files are %s", list)
		}
		usage := root.Reads(adminV1 + "statistics/users/media?order_by=media_length&dir=b")
		if usage.At("total").Int() != 2 || usage.At("users", 0, "user_id").Text() != bob.ID || usage.At("users", 1, "media_count").Int() != 2 {
			t.Errorf("the usage is %s", usage)
		}
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", adminV1+"statistics/users/media?order_by=luck", nil)

		download := "/_matrix/client/v1/media/download/localhost/" + first
		root.Must("POST", adminV1+"media/quarantine/localhost/"+first, `{}`)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", download, nil)
		quarantined, _ := root.Reads(adminV1 + "users/" + alice.ID + "/media").At("media").Find(func(f story.JSON) bool { return f.At("media_id").Text() == first })
		if !quarantined.At("quarantined").Bool() || quarantined.At("upload_name").Text() != "a.txt" {
			t.Errorf("the quarantined file is %s", quarantined)
		}
		root.Must("POST", adminV1+"media/unquarantine/localhost/"+first, `{}`)
		root.Must("DELETE", adminV1+"media/localhost/"+second, nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", "/_matrix/client/v1/media/download/localhost/"+second, nil)
		if gone := root.Must("DELETE", adminV1+"users/"+alice.ID+"/media", nil); gone.At("total").Int() != 1 {
			t.Errorf("the deletion says %s", gone)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", download, nil)
		root.IsRefused(matrix.CodeNotFound, 404, "POST", adminV1+"media/quarantine/localhost/nothing", `{}`)
		alice.IsRefused(matrix.CodeForbidden, 403, "DELETE", adminV1+"users/"+bob.ID+"/media", nil)
	})
}

// TestAdministratorQuarantinesAtOnce puts what a room shows, and what a user has uploaded, into quarantine, but for what
// is protected.
func TestAdministratorQuarantinesAtOnce(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		upload := func(u *story.User, text string) string {
			t.Helper()
			uri := u.Must("POST", "/_matrix/media/v3/upload?filename=a.txt", text).At("content_uri").Text()
			return strings.TrimPrefix(uri, "mxc://localhost/")
		}
		given := func(id string, is bool) {
			t.Helper()
			answer, _ := alice.Fetches("/_matrix/client/v1/media/download/localhost/" + id)
			if (answer.StatusCode == 200) != is {
				t.Errorf("%s is answered by %d, want it given: %v", id, answer.StatusCode, is)
			}
		}
		shown, sticker, others, hidden := upload(alice, "shown"), upload(alice, "a sticker"), upload(bob, "of bob"), upload(alice, "not in the room")
		for _, id := range []string{shown, sticker, others} {
			alice.SendsEvent(room, "m.room.message", "t"+id, map[string]any{"msgtype": "m.file", "body": "a.txt", "url": "mxc://localhost/" + id})
		}
		alice.SendsEvent(room, "m.room.message", "away", map[string]any{"msgtype": "m.file", "body": "b.txt", "url": "mxc://elsewhere.org/abc"})
		root.Finds("the files of the room", adminV1+"room/"+room+"/media", func(a story.JSON) bool {
			return len(a.At("local").List()) == 3 && a.At("remote", 0).Text() == "mxc://elsewhere.org/abc"
		})

		root.Must("POST", adminV1+"media/protect/"+sticker, `{}`)
		root.IsRefused(matrix.CodeForbidden, 403, "POST", adminV1+"media/quarantine/localhost/"+sticker, `{}`)
		if n := root.Must("POST", adminV1+"room/"+room+"/media/quarantine", `{}`).At("num_quarantined").Int(); n != 2 {
			t.Errorf("%d files of the room are in quarantine", n)
		}
		given(shown, false)
		given(others, false)
		given(sticker, true)
		given(hidden, true)
		if n := root.Must("POST", adminV1+"user/"+alice.ID+"/media/quarantine", `{}`).At("num_quarantined").Int(); n != 1 {
			t.Errorf("%d files of alice are in quarantine now", n)
		}
		given(hidden, false)
		given(sticker, true)
		if f := root.Reads(adminV1 + "media/localhost/" + sticker).At("media_info"); !f.At("safe_from_quarantine").Bool() || f.At("user_id").Text() != alice.ID || f.At("media_length").Int() != 9 || f.At("quarantined_by").There() {
			t.Errorf("the sticker is %s", f)
		}
		if f := root.Reads(adminV1 + "media/localhost/" + shown).At("media_info"); !f.At("quarantined_by").There() {
			t.Errorf("the file is %s", f)
		}
		root.Must("POST", adminV1+"media/unprotect/"+sticker, `{}`)
		root.Must("POST", adminV1+"media/quarantine/localhost/"+sticker, `{}`)
		given(sticker, false)

		for _, act := range []string{"media/protect/nothing", "media/unprotect/nothing", "user/@nobody:localhost/media/quarantine"} {
			root.IsRefused(matrix.CodeNotFound, 404, "POST", adminV1+act, `{}`)
			alice.IsRefused(matrix.CodeForbidden, 403, "POST", adminV1+act, `{}`)
		}
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"media/localhost/nothing", nil)
		root.IsRefused(matrix.CodeInvalidParam, 400, "POST", adminV1+"user/@a:elsewhere.org/media/quarantine", `{}`)
		root.IsRefused(matrix.CodeInvalidParam, 400, "POST", adminV1+"room/nothing/media/quarantine", `{}`)
		root.IsRefused(matrix.CodeNotFound, 404, "POST", adminV1+"room/!nowhere:localhost/media/quarantine", `{}`)
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", adminV1+"room/"+room+"/media?from=x", nil)
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", adminV1+"room/"+room+"/media?limit=-1", nil)
	})
}

// TestAdministratorEmptiesTheCache removes files of another server, which are fetched again when somebody asks.
func TestAdministratorEmptiesTheCache(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
		b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)+":8448"), dsn, withSecret)
		alice, bob, root := a.User("alice"), b.User("bob"), administrator(t, b, "root")
		own := bob.Uploads("own.txt", "text/plain", []byte("of bob"))
		file := "/_matrix/client/v1/media/download" + strings.TrimPrefix(alice.Uploads("a.txt", "text/plain", []byte("of alice")), "mxc:/")
		given := func(path string) bool {
			t.Helper()
			answer, _ := bob.Fetches(path)
			return answer.StatusCode == 200
		}
		if !given(file) {
			t.Fatal("bob does not get alice's file")
		}
		path := adminV1 + "purge_media_cache?before_ts="
		if n := root.Must("POST", path+"1000", `{}`).At("deleted").Int(); n != 0 {
			t.Errorf("%d files are that old", n)
		}
		if n := root.Must("POST", path+"99999999999999", `{}`).At("deleted").Int(); n != 1 {
			t.Errorf("%d files are removed", n)
		}
		if !given(file) || !given("/_matrix/client/v1/media/download"+strings.TrimPrefix(own, "mxc:/")) {
			t.Error("bob does not get the files again")
		}
		root.Must("POST", path+"99999999999999", `{}`)
		a.Stop()
		if given(file) {
			t.Error("the file is still here")
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", path+"1000", `{}`)
	})
}
