package test

import (
	"slices"
	"strconv"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestEventByTime(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(private())
		path := v1("rooms", room, "timestamp_to_event")
		at := func(ts int64, dir string) string { return path + "?dir=" + dir + "&ts=" + strconv.FormatInt(ts, 10) }
		var events []story.JSON
		for range 3 {
			id := alice.Says(room, "hello")
			events = append(events, alice.Reads(story.Path("rooms", room, "event", id)).JSON)
		}
		ts := func(e story.JSON) int64 { return e.At("origin_server_ts").Int() }
		// Events of the same millisecond are told apart by their place.
		first := events[slices.IndexFunc(events, func(e story.JSON) bool { return ts(e) == ts(events[2]) })]
		if got := alice.Reads(at(ts(events[2]), "f")); got.At("event_id").Text() != first.At("event_id").Text() || got.At("origin_server_ts").Int() != ts(events[2]) {
			t.Errorf("forward from the last event's time: %s", got)
		}
		if got := alice.Reads(at(ts(events[2])+1000, "b")); got.At("event_id").Text() != events[2].At("event_id").Text() {
			t.Errorf("backward from the end: %s", got)
		}
		if got := alice.Reads(at(0, "f")); got.At("origin_server_ts").Int() > ts(events[0]) {
			t.Errorf("forward from the beginning: %s", got)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", at(0, "b"), nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", at(ts(events[2])+1000, "f"), nil)
		alice.IsRefused(matrix.CodeMissingParam, 400, "GET", path+"?dir=f", nil)
		alice.IsRefused(matrix.CodeMissingParam, 400, "GET", path+"?ts=1", nil)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?ts=1&dir=x", nil)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?ts=1.5&dir=f", nil)
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", at(0, "f"), nil)

		alice.SetsState(room, "m.room.history_visibility", "", map[string]any{"history_visibility": "joined"})
		alice.Invites(room, bob)
		bob.Joins(room)
		late := alice.Says(room, "now bob hears it")
		if got := bob.Reads(at(ts(events[0])+100_000, "b")).At("event_id").Text(); got != late {
			t.Errorf("bob finds %s, want %s", got, late)
		}
	})
}

func TestRoomInitialSync(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room, open := alice.CreatesRoom(private()), alice.CreatesRoom(map[string]any{"visibility": "public", "initial_state": []any{
			map[string]any{"type": "m.room.history_visibility", "content": map[string]any{"history_visibility": "world_readable"}},
		}})
		alice.Must("PUT", story.Path("user", alice.ID, "rooms", room, "account_data", "m.test"), `{"a":1}`)
		alice.Says(room, "one")
		alice.Says(room, "two")
		path := story.Path("rooms", room, "initialSync")
		got := alice.Reads(path + "?limit=2")
		if bodies(got.At("messages", "chunk").List())[1] != "two" || got.At("membership").Text() != "join" || got.At("visibility").Text() != "private" ||
			got.At("account_data", 0, "content", "a").Int() != 1 || len(got.At("state").List()) < 5 {
			t.Errorf("alice's room is %s", got)
		}
		if before := alice.Messages(room, "dir=b&limit=1&from="+got.At("messages", "start").Text()).At("chunk", 0, "event_id").Text(); before == got.At("messages", "chunk", 0, "event_id").Text() {
			t.Error("the token of the start does not lead to earlier events")
		}
		peek := bob.Reads(story.Path("rooms", open, "initialSync"))
		if peek.Has("membership") || peek.At("visibility").Text() != "public" || peek.At("account_data").String() != "[]" {
			t.Errorf("bob peeks: %s", peek)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", path, nil)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?limit=0", nil)
	})
}
