package test

import (
	"fmt"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestFirstSyncHasTheWholeState(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom(map[string]any{"name": "Kitchen"})
		for i := range 15 {
			alice.Says(room, fmt.Sprintf("message %d", i))
		}
		a := alice.SyncsAnew("filter", `{"room":{"timeline":{"limit":5}}}`)
		joined := a.At("rooms", "join", room)
		if got, want := bodies(joined.At("timeline", "events").List()), []string{"message 10", "message 11", "message 12", "message 13", "message 14"}; !slices.Equal(got, want) {
			t.Errorf("the timeline is %v, want %v", got, want)
		}
		if !joined.At("timeline", "limited").Bool() || joined.At("timeline", "prev_batch").Text() == "" {
			t.Errorf("a cut timeline is not limited, or has no prev_batch: %s", joined.At("timeline"))
		}
		state := joined.At("state", "events")
		for _, want := range []string{"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.name"} {
			if !slices.Contains(state.Texts("type"), want) {
				t.Errorf("the state lacks %s: %v", want, state.Texts("type"))
			}
		}
		for _, e := range state.List() {
			if e.Has("room_id") || !e.Has("state_key") || !e.Has("event_id") || !e.Has("origin_server_ts") || !e.Has("sender") {
				t.Errorf("a state event of a sync is %s", e)
			}
		}
		before := alice.Messages(room, "dir=b&limit=3&from="+joined.At("timeline", "prev_batch").Text())
		if got, want := bodies(before.At("chunk").List()), []string{"message 9", "message 8", "message 7"}; !slices.Equal(got, want) {
			t.Errorf("before the timeline is %v, want %v", got, want)
		}
		for _, always := range []string{"device_one_time_keys_count", "device_unused_fallback_key_types"} {
			if !a.Has(always) {
				t.Errorf("the sync lacks %s", always)
			}
		}
		if again := alice.Syncs(); again.At("rooms", "join", room).There() {
			t.Errorf("nothing happened, but the next sync has %s", again.At("rooms"))
		}
	})
}

func TestGapInTheTimelineCanBeFilled(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		last := alice.Says(room, "the last that bob saw")
		bob.Syncs()
		alice.SetsState(room, "m.room.topic", "", map[string]any{"topic": "in the gap"})
		var missed []string
		for i := range 30 {
			missed = append(missed, alice.Says(room, fmt.Sprintf("missed %d", i)))
		}
		joined := bob.Syncs("filter", `{"room":{"timeline":{"limit":4}}}`).At("rooms", "join", room)
		if got := joined.At("timeline", "events").Texts("event_id"); !slices.Equal(got, missed[26:]) {
			t.Errorf("the timeline is %v, want %v", got, missed[26:])
		}
		if !joined.At("timeline", "limited").Bool() {
			t.Error("there is a gap, but the timeline is not limited")
		}
		if got := joined.At("state", "events").Texts("type"); !slices.Equal(got, []string{"m.room.topic"}) {
			t.Errorf("the state that changed in the gap is %v", got)
		}
		var found []string
		for from := joined.At("timeline", "prev_batch").Text(); from != "" && !slices.Contains(found, last); {
			page := bob.Messages(room, "dir=b&limit=7&from="+from)
			found = append(found, page.At("chunk").Texts("event_id")...)
			from = page.At("end").Text()
		}
		slices.Reverse(found)
		at := slices.Index(found, last)
		if at < 0 || len(found) < at+2 || !slices.Equal(found[at+2:], missed[:26]) { // the topic is between
			t.Errorf("backward from prev_batch bob finds %v, want all of %v after %s", found, missed[:26], last)
		}
	})
}

func TestNotLimitedMeansThereIsNoGap(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Syncs()
		want := []string{alice.Says(room, "1"), alice.Says(room, "2"), alice.Says(room, "3")}
		joined := bob.Syncs("filter", `{"room":{"timeline":{"limit":3}}}`).At("rooms", "join", room)
		if joined.At("timeline", "limited").Bool() || !slices.Equal(joined.At("timeline", "events").Texts("event_id"), want) {
			t.Errorf("three events and a limit of three: %s", joined.At("timeline"))
		}
		if len(joined.At("state", "events").List()) != 0 {
			t.Errorf("nothing of the state changed, but it is %s", joined.At("state"))
		}
	})
}

func TestStateIsBeforeTheTimelineAndStateAfterIsAfterIt(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom(map[string]any{"name": "first"})
		alice.Syncs()
		since := alice.Since
		alice.SetsState(room, "m.room.name", "", map[string]any{"name": "second"})
		alice.Says(room, "between")
		alice.SetsState(room, "m.room.name", "", map[string]any{"name": "third"})

		named := func(events story.JSON) string {
			e, _ := events.Find(func(e story.JSON) bool { return e.At("type").Text() == "m.room.name" })
			return e.At("content", "name").Text()
		}
		cut := []string{"filter", `{"room":{"timeline":{"limit":2}}}`}
		old := alice.SyncsFrom(since, cut...).At("rooms", "join", room)
		if got := named(old.At("state", "events")); got != "second" || old.Has("state_after") {
			t.Errorf("the state before the timeline has the name %q: %s", got, old)
		}
		for _, flag := range []string{"use_state_after", "org.matrix.msc4222.use_state_after"} {
			field := map[string]string{"use_state_after": "state_after", "org.matrix.msc4222.use_state_after": "org.matrix.msc4222.state_after"}[flag]
			a := alice.SyncsFrom(since, append(cut, flag, "true")...).At("rooms", "join", room)
			if got := named(a.At(field, "events")); got != "third" || a.Has("state") {
				t.Errorf("%s: the state after the timeline has the name %q: %s", flag, got, a)
			}
			whole := alice.SyncsFrom("", append(cut, flag, "true")...).At("rooms", "join", room)
			if got := named(whole.At(field, "events")); got != "third" {
				t.Errorf("%s: in a first sync the name is %q", flag, got)
			}
		}
		whole := alice.SyncsFrom("", cut...).At("rooms", "join", room)
		if got := named(whole.At("state", "events")); got != "second" {
			t.Errorf("in a first sync the state before the timeline has the name %q", got)
		}
		full := alice.SyncsFrom(alice.Syncs().At("next_batch").Text(), "full_state", "true").At("rooms", "join", room)
		if got := named(full.At("state", "events")); got != "third" || !slices.Contains(full.At("state", "events").Texts("type"), "m.room.create") {
			t.Errorf("full_state gives the name %q: %s", got, full)
		}
	})
}

func TestNewlyJoinedRoomComesWhole(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		bob.Syncs()
		room := alice.CreatesRoom(map[string]any{"name": "Kitchen"})
		alice.Says(room, "before bob")
		bob.Joins(room)
		joined := bob.Syncs().At("rooms", "join", room)
		all := append(joined.At("state", "events").Texts("type"), joined.At("timeline", "events").Texts("type")...)
		for _, want := range []string{"m.room.create", "m.room.name", "m.room.power_levels", "m.room.join_rules"} {
			if !slices.Contains(all, want) {
				t.Errorf("the newly joined room lacks %s: %v", want, all)
			}
		}
		if !slices.Contains(bodies(joined.At("timeline", "events").List()), "before bob") {
			t.Errorf("the timeline of a newly joined room does not have what was before: %s", joined.At("timeline"))
		}
		if joined.At("summary", "m.joined_member_count").Int() != 2 {
			t.Errorf("the summary is %s", joined.At("summary"))
		}
	})
}

// unseen is the query of a client that is not seen to be there, which its user would be told as news, some time.
var unseen = []string{"set_presence", "offline"}

func TestSyncWaitsForNews(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Syncs(unseen...)
		since, next := bob.Since, make(chan story.JSON, 1)
		go func() { next <- bob.SyncsFrom(since, append(unseen, "timeout", "30000")...) }()
		alice.Says(room, "wake up")
		if got := bodies((<-next).At("rooms", "join", room, "timeline", "events").List()); !slices.Equal(got, []string{"wake up"}) {
			t.Errorf("the waiting sync has %v", got)
		}
		carol := hs.User("carol")
		alice.Syncs(unseen...)
		since = alice.Since
		go func() { next <- alice.SyncsFrom(since, append(unseen, "timeout", "30000")...) }()
		room = carol.CreatesRoom(private())
		carol.Invites(room, alice)
		if a := <-next; !a.At("rooms", "invite", room).There() {
			t.Errorf("the invite did not wake the sync: %s", a)
		}
	})
}

func TestLogoutEndsTheWaitingSync(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		phone := alice.LogsIn()
		alice.CreatesRoom()
		phone.Syncs(unseen...)
		answer := make(chan *story.Answer, 1)
		go func() {
			answer <- phone.Does("GET", "/sync?set_presence=offline&timeout=50000&since="+phone.Since, nil)
		}()
		alice.Must("POST", "/delete_devices", map[string]any{"devices": []string{phone.Device}, "auth": map[string]any{
			"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": "alice"}, "password": alice.Password,
		}})
		if a := <-answer; a.Status != 401 || a.At("errcode").Text() != "M_UNKNOWN_TOKEN" {
			t.Errorf("the sync of a device that was logged out meanwhile: status %d: %s", a.Status, a)
		}
	})
}

func TestSyncTokens(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		alice.Syncs()
		since := alice.Since
		want := []string{alice.Says(room, "1"), alice.Says(room, "2")}
		for range 3 { // a lost answer is asked for again
			got := alice.SyncsFrom(since).At("rooms", "join", room, "timeline", "events").Texts("event_id")
			if !slices.Equal(got, want) {
				t.Errorf("from the same token: %v, want %v", got, want)
			}
		}
		hs.Restart()
		if got := alice.SyncsFrom(since).At("rooms", "join", room, "timeline", "events").Texts("event_id"); !slices.Equal(got, want) {
			t.Errorf("after a restart: %v, want %v", got, want)
		}
		a := alice.Does("GET", "/sync?since=made-up", nil)
		if a.Status != 400 {
			t.Errorf("a made-up token: status %d: %s", a.Status, a)
		}
	})
}

func TestSyncFilters(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		bob.Joins(room)
		alice.Says(room, "text")
		alice.SendsEvent(room, "org.example.a", "a", map[string]any{"url": "mxc://localhost/a"})
		alice.SendsEvent(room, "org.example.b", "b", map[string]any{})
		bob.Says(room, "from bob")
		sync := func(filter string) story.JSON { return alice.SyncsFrom("", "filter", filter).At("rooms", "join") }
		timeline := func(filter string) []string {
			return sync(`{"room":{"timeline":`+filter+`}}`).At(room, "timeline", "events").Texts("type")
		}
		if got := timeline(`{"types":["org.example.*"]}`); !slices.Equal(got, []string{"org.example.a", "org.example.b"}) {
			t.Errorf("types: %v", got)
		}
		if got := timeline(`{"types":["org.example.*"],"not_types":["*.a"]}`); !slices.Equal(got, []string{"org.example.b"}) {
			t.Errorf("not_types: %v", got)
		}
		if got := timeline(`{"types":["m.room.message"],"senders":["` + bob.ID + `"]}`); len(got) != 1 {
			t.Errorf("senders: %v", got)
		}
		if got := timeline(`{"types":["m.room.message"],"not_senders":["` + bob.ID + `"]}`); len(got) != 1 {
			t.Errorf("not_senders: %v", got)
		}
		if got := timeline(`{"contains_url":true}`); !slices.Equal(got, []string{"org.example.a"}) {
			t.Errorf("contains_url: %v", got)
		}
		if got := timeline(`{"limit":1}`); len(got) != 1 {
			t.Errorf("limit: %v", got)
		}
		if got := sync(`{"room":{"rooms":["` + other + `"]}}`).Keys(); !slices.Equal(got, []string{other}) {
			t.Errorf("rooms: %v", got)
		}
		if got := sync(`{"room":{"not_rooms":["` + other + `"]}}`).Keys(); !slices.Equal(got, []string{room}) {
			t.Errorf("not_rooms: %v", got)
		}
		if got := sync(`{"room":{"state":{"types":["m.room.create"]},"timeline":{"types":[]}}}`).At(room, "state", "events").Texts("type"); !slices.Equal(got, []string{"m.room.create"}) {
			t.Errorf("state: %v", got)
		}
		id := alice.Must("POST", story.Path("user", alice.ID, "filter"), `{"room":{"timeline":{"types":["org.example.a"]}}}`).At("filter_id").Text()
		if got := sync(id).At(room, "timeline", "events").Texts("type"); !slices.Equal(got, []string{"org.example.a"}) {
			t.Errorf("a kept filter: %v", got)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", story.Path("user", alice.ID, "filter", id), nil)
	})
}

func TestLeftRoomsAreInTheArchive(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		alice.Says(room, "while he is here")
		bob.Leaves(room)
		alice.Says(room, "while he is gone")
		alice.SetsState(room, "m.room.name", "", map[string]any{"name": "after bob"})
		if a := bob.SyncsAnew(); a.At("rooms", "leave", room).There() {
			t.Errorf("a first sync has a left room that nobody asked for: %s", a)
		}
		left := bob.SyncsAnew("filter", `{"room":{"include_leave":true}}`).At("rooms", "leave", room)
		texts := bodies(left.At("timeline", "events").List())
		if !slices.Contains(texts, "while he is here") || slices.Contains(texts, "while he is gone") {
			t.Errorf("the archived timeline is %v", texts)
		}
		if slices.Contains(left.At("state", "events").Texts("type"), "m.room.name") {
			t.Errorf("the archived state is of after the leave: %s", left.At("state"))
		}
	})
}

func TestDensePlacesInTheRoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		for i := range 5 {
			alice.Says(room, fmt.Sprint(i))
		}
		before := int64(0)
		for _, e := range alice.History(room) {
			if seq := e.At("unsigned", "im.astrocyte.seq").Int(); before != 0 && seq != before+1 || seq == 0 {
				t.Errorf("seq %d follows %d: %s", seq, before, e)
			} else {
				before = seq
			}
		}
	})
}
