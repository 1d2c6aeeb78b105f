package test

import (
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestReportsTellNothing(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, eve := hs.User("alice"), hs.User("eve")
		room := alice.CreatesRoom(private())
		event := alice.Says(room, "hello")
		for _, path := range []string{
			story.Path("rooms", room, "report"),
			story.Path("rooms", "!nowhere:localhost", "report"),
			story.Path("rooms", room, "report", event),
			story.Path("rooms", room, "report", "$nothing"),
			story.Path("rooms", "!nowhere:localhost", "report", event),
			story.Path("users", alice.ID, "report"),
			story.Path("users", "@nobody:localhost", "report"),
		} {
			for _, u := range []*story.User{alice, eve} {
				if a := u.Must("POST", path, `{"reason":"ugly"}`); a.String() != "{}" {
					t.Errorf("POST %s: %s", path, a)
				}
			}
			alice.IsRefused(matrix.CodeBadJSON, 400, "POST", path, `{"reason":7}`)
			alice.IsRefused(matrix.CodeNotJSON, 400, "POST", path, `{"reason":`)
			alice.IsRefused(matrix.CodeTooLarge, 413, "POST", path, `{"reason":"`+strings.Repeat("x", 11_000)+`"}`)
			hs.Nobody().IsRefused(matrix.CodeMissingToken, 401, "POST", path, `{"reason":""}`)
		}
		alice.Must("POST", story.Path("rooms", room, "report", event), `{"score":-100,"reason":null}`)
		alice.Must("POST", story.Path("rooms", room, "report", event), `{}`)
		for _, path := range []string{story.Path("rooms", room, "report"), story.Path("users", eve.ID, "report")} {
			if a := alice.Does("POST", path, `{}`); a.Status != 400 {
				t.Errorf("a report without a reason: %d %s", a.Status, a)
			}
		}
		for _, path := range []string{story.Path("rooms", "nonsense", "report"), story.Path("rooms", room, "report", "nonsense"), story.Path("users", "nonsense", "report")} {
			alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", path, `{"reason":""}`)
		}
	})
}

// TestAdministratorsReadReports lists, in pages, what users reported, each kind by itself.
func TestAdministratorsReadReports(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"name": "Tea", "room_alias_name": "tea"})
		bob.Joins(room)
		event := alice.Says(room, "ugly")
		bob.Must("POST", story.Path("rooms", room, "report", event), `{"reason":"event"}`)
		bob.Must("POST", story.Path("rooms", room, "report"), `{"reason":"room"}`)
		for _, reason := range []string{"one", "two", "three"} {
			bob.Must("POST", story.Path("users", alice.ID, "report"), `{"reason":"`+reason+`"}`)
		}
		alice.Must("POST", story.Path("users", bob.ID, "report"), `{"reason":"four"}`)

		events := root.Reads(adminV1 + "event_reports?user_id=bob&room_id=" + room + "&sender_user_id=alice")
		if e := events.At("event_reports", 0); events.At("total").Int() != 1 || e.At("event_id").Text() != event || e.At("name").Text() != "Tea" || e.At("canonical_alias").Text() != "#tea:localhost" || e.At("sender").Text() != alice.ID {
			t.Errorf("the reports of events are %s", events)
		}
		if none := root.Reads(adminV1 + "event_reports?user_id=alice"); none.At("total").Int() != 0 || none.At("event_reports").String() != "[]" {
			t.Errorf("alice reported %s", none)
		}
		rooms := root.Reads(adminV1 + "room_reports")
		if r := rooms.At("room_reports", 0); rooms.At("total").Int() != 1 || r.At("room_id").Text() != room || r.At("reason").Text() != "room" || r.At("name").Text() != "Tea" {
			t.Errorf("the reports of rooms are %s", rooms)
		}
		page := root.Reads(adminV1 + "user_reports?limit=2&target_user_id=" + alice.ID)
		if got := page.At("user_reports").Texts("reason"); page.At("total").Int() != 3 || len(got) != 2 || got[0] != "three" || page.At("next_token").Int() != 2 {
			t.Errorf("the first page is %s", page)
		}
		if last := root.Reads(adminV1 + "user_reports?limit=2&from=2&target_user_id=" + alice.ID); last.At("user_reports", 0, "reason").Text() != "one" || last.Has("next_token") {
			t.Errorf("the last page is %s", last)
		}
		oldest := root.Reads(adminV1+"user_reports?dir=f").At("user_reports", 0)
		if oldest.At("reason").Text() != "one" || oldest.At("target_user_id").Text() != alice.ID || oldest.At("user_id").Text() != bob.ID {
			t.Errorf("the oldest is %s", oldest)
		}
		id := oldest.At("id").String()
		if r := root.Reads(adminV1 + "user_reports/" + id); r.String() != oldest.String() {
			t.Errorf("the report is %s", r)
		}
		for _, list := range []string{"event_reports", "room_reports", "user_reports"} {
			path := adminV1 + list
			alice.IsRefused(matrix.CodeForbidden, 403, "GET", path, nil)
			alice.IsRefused(matrix.CodeForbidden, 403, "DELETE", path+"/"+id, nil)
			root.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?limit=-1", nil)
			root.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?from=x", nil)
			root.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?dir=up", nil)
			root.IsRefused(matrix.CodeNotFound, 404, "GET", path+"/99", nil)
			root.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"/x", nil)
			root.Reads(path + "?user_id=%25%5C_")
		}
		root.IsRefused(matrix.CodeNotFound, 404, "DELETE", adminV1+"event_reports/"+id, nil)
		root.Must("DELETE", adminV1+"user_reports/"+id, nil)
		root.IsRefused(matrix.CodeNotFound, 404, "DELETE", adminV1+"user_reports/"+id, nil)
		if left := root.Reads(adminV1 + "user_reports"); left.At("total").Int() != 3 {
			t.Errorf("left are %s", left)
		}
	})
}
