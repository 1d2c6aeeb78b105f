package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestToolsSeeTasks(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		tasks := adminV1 + "scheduled_tasks"
		if all := root.Reads(tasks).At("scheduled_tasks"); all.String() != "[]" {
			t.Errorf("at first there are the tasks %s", all)
		}
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		for _, id := range []string{room, other} {
			root.Must("DELETE", adminV2+"rooms/"+id, `{}`)
		}
		done := root.Finds("the end of the room", tasks+"?resource_id="+room, func(a story.JSON) bool {
			return a.At("scheduled_tasks", 0, "status").Text() == "complete"
		})
		first := done.At("scheduled_tasks", 0)
		if len(done.At("scheduled_tasks").List()) != 1 || first.At("action").Text() != "shutdown_and_purge_room" || first.At("resource_id").Text() != room ||
			!first.At("result").Has("kicked_users") || first.At("error").String() != "null" || first.At("id").Text() == "" {
			t.Errorf("of the room there is %s", done)
		}
		for query, n := range map[string]int{
			"": 2, "?action_name=shutdown_and_purge_room": 2, "?action_name=purge_history": 0, "?status=failed": 0,
			fmt.Sprint("?max_timestamp=", first.At("timestamp_ms").Int()-time.Hour.Milliseconds()): 0,
		} {
			if got := len(root.Reads(tasks + query).At("scheduled_tasks").List()); got != n {
				t.Errorf("by %q there are %d tasks, want %d", query, got, n)
			}
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "GET", tasks, nil)
	})
}

func TestToolsAskForLargeRooms(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		small, large, long := alice.CreatesRoom(), alice.CreatesRoom(), alice.CreatesRoom()
		for i := range 30 {
			alice.Says(large, fmt.Sprint("line ", i))
			alice.Says(long, strings.Repeat("long ", 1000))
		}
		rooms := root.Reads(adminV1 + "statistics/database/rooms").At("rooms")
		if got := rooms.Texts("room_id"); len(got) != 3 || got[0] != long || got[1] != large || got[2] != small {
			t.Errorf("the largest rooms are %s", rooms)
		}
		if n := rooms.At(0, "estimated_size").Int(); n < 100_000 || n > 300_000 {
			t.Errorf("the room with 150,000 letters takes up %d bytes", n)
		}
	})
}

func TestToolsAskForFeatures(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		path := adminV1 + "experimental_features/" + alice.ID
		if f := root.Reads(path).At("features"); !f.At("msc4222").Bool() || f.At("msc3881").Bool() {
			t.Errorf("alice has %s", f)
		}
		root.Must("PUT", path, `{"features":{"msc4222":true,"msc3881":false}}`)
		for _, bad := range []string{`{"features":{"msc3881":true}}`, `{"features":{"msc4222":false}}`, `{"features":{"msc1":true}}`} {
			root.IsRefused(matrix.CodeInvalidParam, 400, "PUT", path, bad)
		}
		root.IsRefused(matrix.CodeNotFound, 404, "GET", adminV1+"experimental_features/@nobody:localhost", nil)
	})
}

func TestCrossSigningIsReplacedWithoutPassword(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		path := adminV1 + "users/" + alice.ID + "/_allow_cross_signing_replacement_without_uia"
		root.IsRefused(matrix.CodeNotFound, 404, "POST", path, `{}`) // there is nothing to be replaced
		first, second, third := newCrossSigning(t, alice), newCrossSigning(t, alice), newCrossSigning(t, alice)
		alice.Must("POST", crossPath, first.upload())
		if a := alice.Does("POST", crossPath, second.upload()); a.Status != 401 {
			t.Fatalf("other keys are answered by %d", a.Status)
		}
		until := root.Must("POST", path, `{}`).At("updatable_without_uia_before_ms").Int()
		if rest := time.Until(time.UnixMilli(until)); rest <= 0 || rest > 10*time.Minute {
			t.Errorf("alice may replace them for %s", rest)
		}
		alice.Must("POST", crossPath, second.upload())
		if a := queries(alice, alice.ID); !a.At("master_keys", alice.ID, "keys").Has(second.master.id()) {
			t.Errorf("alice has %s", a)
		}
		if a := alice.Does("POST", crossPath, third.upload()); a.Status != 401 {
			t.Errorf("a second time is answered by %d", a.Status)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", path, `{}`)
	})
}

func TestAdministratorDeletesOldMedia(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		room := alice.CreatesRoom()
		up := func(text string) string { return alice.Uploads("a.txt", "text/plain", []byte(text)) }
		small, large, face, emblem, before := up("small"), up(strings.Repeat("large", 100)), up(strings.Repeat("face", 100)), up(strings.Repeat("emblem", 100)), up(strings.Repeat("before", 100))
		alice.Must("PUT", story.Path("profile", alice.ID, "avatar_url"), map[string]any{"avatar_url": face})
		alice.SetsState(room, "m.room.avatar", "", map[string]any{"url": before})
		alice.SetsState(room, "m.room.avatar", "", map[string]any{"url": emblem})
		root.Finds("the picture of the room", adminV1+"room/"+room+"/media", func(a story.JSON) bool {
			return strings.Contains(a.String(), emblem)
		})
		deletes := func(query string) *story.Answer {
			t.Helper()
			return root.Must("POST", adminV1+"media/delete?"+query, `{}`)
		}
		future := time.Now().Add(time.Hour).UnixMilli()
		if gone := deletes("before_ts=1"); gone.At("total").Int() != 0 || gone.At("deleted_media").String() != "[]" {
			t.Errorf("of long ago there is %s", gone)
		}
		if gone := deletes(fmt.Sprint("before_ts=", future, "&size_gt=100")); gone.At("total").Int() != 2 ||
			!strings.Contains(gone.String(), strings.TrimPrefix(large, "mxc://localhost/")) || !strings.Contains(gone.String(), strings.TrimPrefix(before, "mxc://localhost/")) {
			t.Errorf("of the large ones %s is deleted", gone)
		}
		for uri, there := range map[string]bool{small: true, large: false, face: true, emblem: true, before: false} {
			answer, _ := alice.Fetches("/_matrix/client/v1/media/download/" + strings.TrimPrefix(uri, "mxc://"))
			if (answer.StatusCode == 200) != there {
				t.Errorf("%s is answered by %d", uri, answer.StatusCode)
			}
		}
		gone := root.Must("POST", adminV1+"media/localhost/delete?keep_profiles=false&before_ts="+fmt.Sprint(future), `{}`)
		if gone.At("total").Int() != 3 {
			t.Errorf("of the rest %s is deleted", gone)
		}
		for _, bad := range []string{"", "before_ts=-1", "before_ts=5&size_gt=-1"} {
			if a := root.Does("POST", adminV1+"media/delete?"+bad, `{}`); a.Status != 400 {
				t.Errorf("%q is answered by %d", bad, a.Status)
			}
		}
		root.IsRefused(matrix.CodeInvalidParam, 400, "POST", adminV1+"media/elsewhere.org/delete?before_ts=5", `{}`)
	})
}
