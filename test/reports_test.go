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
