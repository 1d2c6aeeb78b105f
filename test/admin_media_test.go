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
