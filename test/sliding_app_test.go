package test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// notification is the request by which the Rust SDK shows what a push is about: a connection of its own, used once.
func notification(room string) map[string]any {
	state := [][2]string{
		{"m.room.encryption", ""}, {"m.room.member", "$LAZY"}, {"m.room.member", "$ME"}, {"m.room.canonical_alias", ""}, {"m.room.name", ""},
		{"m.room.avatar", ""}, {"m.room.power_levels", ""}, {"m.room.join_rules", ""}, {"org.matrix.msc3401.call.member", "*"},
		{"m.room.create", ""}, {"io.element.functional_members", ""},
	}
	return map[string]any{
		"lists": map[string]any{"invites": map[string]any{
			"ranges": [][2]int{{0, 16}}, "required_state": state, "timeline_limit": 8, "filters": map[string]any{"is_invite": true},
		}},
		"room_subscriptions": map[string]any{room: map[string]any{"required_state": state, "timeline_limit": 16}},
		"extensions":         map[string]any{"account_data": map[string]any{"enabled": true}},
	}
}

// TestSlidingNotification: a push woke the phone, which asks for the event beside the connections of the app.
func TestSlidingNotification(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room, other := alice.CreatesRoom(map[string]any{"name": "Home"}), alice.CreatesRoom()
		bob.Joins(room)
		bob.Joins(other)
		list, keys := bob.Slides("room-list", roomList([2]int{0, 19})), bob.Slides("encryption", encryption())
		list.Goes()
		keys.Goes()

		invited := alice.CreatesRoom(map[string]any{"name": "Party", "invite": []string{bob.ID}})
		alice.Must("PUT", "/sendToDevice/m.room.encrypted/t1", map[string]any{"messages": map[string]any{bob.ID: map[string]any{bob.Device: map[string]any{"a": 1}}}})
		event := alice.Says(room, "look at your phone")
		shown := bob.Slides("notifications", notification(room)).Waits(time.Second)
		r := shown.At("rooms", room)
		if r.At("timeline", -1, "event_id").Text() != event || r.At("name").Text() != "Home" || !r.At("initial").Bool() {
			t.Errorf("the room of the push is %s", r)
		}
		for _, need := range []string{"m.room.power_levels", "m.room.create", "m.room.name", "m.room.member"} {
			if !slices.Contains(r.At("required_state").Texts("type"), need) {
				t.Errorf("%s is not told, without which the push rules cannot be applied", need)
			}
		}
		if got := shown.At("rooms").Keys(); len(got) != 2 || shown.At("rooms", invited, "invite_state").List() == nil || shown.At("lists", "invites", "count").Int() != 1 {
			t.Errorf("told are %v, and %s invites", got, shown.At("lists"))
		}

		// The app's own connections have missed nothing by it.
		if a := list.Goes(); !slices.Equal(bodies(a.At("rooms", room, "timeline").List()), []string{"look at your phone"}) || !a.At("rooms", invited).There() {
			t.Errorf("the room list is told %s", a.At("rooms"))
		}
		if a := keys.Goes(); len(a.At("extensions", "to_device", "events").List()) != 1 {
			t.Errorf("the messages to the device are %s", a.At("extensions", "to_device"))
		}
	})
}

// TestSlidingAppComesBack: an app was closed, or the server was away, and the room that is open in it has gone on: what its
// window of one event leaves out is read back from prev_batch, without a hole and nothing twice.
func TestSlidingAppComesBack(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		alice.Says(room, "seen")
		opened, closed := bob.Slides("room-list", roomList([2]int{0, 19})), bob.Slides("closed", roomList([2]int{0, 19}))
		opened.Body["room_subscriptions"] = map[string]any{room: map[string]any{"timeline_limit": 20, "required_state": [][2]string{{"m.room.pinned_events", ""}}}}
		opened.Goes()
		closed.Goes()
		var said []string
		for i := range 6 {
			said = append(said, fmt.Sprint("gap ", i))
			alice.Says(room, said[i])
		}
		hs.Restart()
		if r := opened.Goes().At("rooms", room); r.At("limited").Bool() || r.At("num_live").Int() != 6 || !slices.Equal(bodies(r.At("timeline").List()), said) {
			t.Errorf("the open room goes on with %s", r)
		}
		r := closed.Goes().At("rooms", room)
		if !r.At("limited").Bool() || r.At("initial").Bool() || !slices.Equal(bodies(r.At("timeline").List()), said[5:]) {
			t.Fatalf("the room goes on with %s", r)
		}
		before := bob.Messages(room, "dir=b&limit=6&from="+r.At("prev_batch").Text())
		got := bodies(before.At("chunk").List())
		slices.Reverse(got)
		if want := append([]string{"seen"}, said[:5]...); !slices.Equal(got, want) {
			t.Errorf("before it there is %q, want %q", got, want)
		}
	})
}
