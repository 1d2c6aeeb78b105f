package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestMessageReachesTheRoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")

		room := alice.CreatesRoom()
		bob.Joins(room)
		first := alice.Sends(room, "t1", "hello, Bob")
		seen := bob.Sees(room, "hello, Bob")
		if seen.At("event_id").Text() != first || seen.At("sender").Text() != alice.ID || seen.At("type").Text() != "m.room.message" {
			t.Errorf("alice sent %s, bob sees %s", first, seen)
		}
		if seen.At("unsigned").Has("transaction_id") {
			t.Errorf("bob sees alice's transaction ID: %s", seen)
		}
		if own := alice.Sees(room, "hello, Bob"); own.At("unsigned", "transaction_id").Text() != "t1" {
			t.Errorf("alice's own event lacks its transaction ID: %s", own)
		}

		if again := alice.Sends(room, "t1", "hello, Bob"); again != first {
			t.Fatalf("a repeated transaction ID made a new event: %s, then %s", first, again)
		}
		eve.IsRefused(matrix.CodeForbidden, 403, "PUT", "/rooms/"+room+"/send/m.room.message/t1", `{}`)
		bob.Says(room, "hello, Alice")
		alice.Sees(room, "hello, Alice")
	})
}

func TestTransactionIDsAreOfADevice(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		phone := alice.LogsIn()
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		first := alice.Sends(room, "t", "first")
		hs.Restart()
		if again := alice.Sends(room, "t", "not looked at any more"); again != first {
			t.Errorf("after a restart a repeated transaction ID made a new event: %s, then %s", first, again)
		}
		if e := phone.Sends(room, "t", "of the phone"); e == first {
			t.Errorf("another device's transaction ID gave %s again", first)
		}
		if e := alice.Sends(other, "t", "in another room"); e == first {
			t.Errorf("the transaction ID in another room gave %s again", first)
		}
		if e := alice.SendsEvent(room, "org.example.other", "t", map[string]any{}); e == first {
			t.Errorf("the transaction ID with another event type gave %s again", first)
		}
		redaction := alice.Must("PUT", story.Path("rooms", room, "redact", first, "t"), `{}`).At("event_id").Text()
		again := alice.Must("PUT", story.Path("rooms", room, "redact", first, "t"), `{}`).At("event_id").Text()
		if redaction == first || again != redaction {
			t.Errorf("a redaction made %s and, repeated, %s", redaction, again)
		}
		if e := phone.Sees(room, "of the phone"); e.At("unsigned", "transaction_id").Text() != "t" {
			t.Errorf("the phone's event lacks its transaction ID: %s", e)
		}
		if e := alice.Sees(room, "of the phone"); e.At("unsigned").Has("transaction_id") {
			t.Errorf("another device of alice sees the phone's transaction ID: %s", e)
		}
	})
}

func TestBadMessagesAreRefused(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		send := story.Path("rooms", room, "send", "m.room.message", "t")
		alice.IsRefused(matrix.CodeNotJSON, 400, "PUT", send, `{"body":`)
		alice.IsRefused(matrix.CodeBadJSON, 400, "PUT", send, `[]`)
		alice.IsRefused(matrix.CodeBadJSON, 400, "PUT", send, `{"body":1.5}`)
		alice.IsRefused(matrix.CodeTooLarge, 413, "PUT", send, map[string]any{"body": strings.Repeat("a", 70000)})
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", "!nosuchroom:localhost", "send", "m.room.message", "t"), `{}`)
		alice.IsRefused(matrix.CodeUnrecognized, 404, "GET", "/no/such/endpoint", nil)
		alice.IsRefused(matrix.CodeUnrecognized, 405, "DELETE", send, nil)
		if id := alice.Sends(room, "t", "well"); id == "" {
			t.Error("a refused request used the transaction ID up")
		}
	})
}

func TestHistoryIsReadInPages(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		var sent []string
		for i := range 25 {
			sent = append(sent, alice.Says(room, fmt.Sprintf("message %d", i)))
		}
		all := alice.History(room)
		var ids []string
		for _, e := range all {
			ids = append(ids, e.At("event_id").Text())
		}
		if len(ids) < len(sent) || !slices.Equal(ids[len(ids)-len(sent):], sent) {
			t.Errorf("the history is %v, want it to end with %v", ids, sent)
		}
		if all[0].At("type").Text() != "m.room.create" {
			t.Errorf("the history begins with %s", all[0])
		}
		forward := alice.Messages(room, "dir=f&limit=10")
		var fromStart []string
		for page := forward; ; page = alice.Messages(room, "dir=f&limit=10&from="+page.At("end").Text()) {
			fromStart = append(fromStart, page.At("chunk").Texts("event_id")...)
			if page.At("end").Text() == "" || len(page.At("chunk").List()) == 0 {
				break
			}
		}
		if !slices.Equal(fromStart, ids) {
			t.Errorf("forward the history is\n%v\nand backward it was\n%v", fromStart, ids)
		}
		around := alice.Reads(story.Path("rooms", room, "context", sent[12]) + "?limit=4")
		if around.At("event", "event_id").Text() != sent[12] ||
			!slices.Equal(around.At("events_before").Texts("event_id"), []string{sent[11], sent[10]}) ||
			!slices.Equal(around.At("events_after").Texts("event_id"), sent[13:15]) {
			t.Errorf("around message 12 is %s", around)
		}
		before := alice.Messages(room, "dir=b&limit=2&from="+around.At("start").Text()).At("chunk").Texts("event_id")
		after := alice.Messages(room, "dir=f&limit=2&from="+around.At("end").Text()).At("chunk").Texts("event_id")
		if !slices.Equal(before, []string{sent[9], sent[8]}) || !slices.Equal(after, sent[15:17]) {
			t.Errorf("the tokens around message 12 go on with %v and %v", before, after)
		}
	})
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bad := bob.Says(room, "something nasty")
		alice.Sees(room, "something nasty")
		own := alice.Says(room, "alice's own")
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "redact", own, "x"), `{}`)
		redaction := alice.Redacts(room, bad, "be nice")
		seen := bob.SeesEvent(room, "the redaction", func(e story.JSON) bool { return e.At("event_id").Text() == redaction })
		if seen.At("content", "reason").Text() != "be nice" || seen.At("content", "redacts").Text() != bad || seen.At("redacts").Text() != bad {
			t.Errorf("the redaction that bob sees is %s", seen)
		}
		e := bob.Reads(story.Path("rooms", room, "event", bad))
		if e.At("content").String() != "{}" || e.At("unsigned", "redacted_because", "event_id").Text() != redaction {
			t.Errorf("the redacted event is %s", e)
		}
		for _, e := range bob.History(room) {
			if e.At("event_id").Text() == bad && e.At("content").Has("body") {
				t.Errorf("the history still has %s", e)
			}
		}
		bob.SyncsAnew()
		if i := slices.IndexFunc(bob.Timeline(room), func(e story.JSON) bool { return e.At("event_id").Text() == bad }); i < 0 || bob.Timeline(room)[i].At("content").Has("body") {
			t.Errorf("a new sync does not have the redacted event, or has its text")
		}
		bob.Redacts(room, bob.Says(room, "my mistake"), "") // one's own needs no power
	})
}

func TestStateEvents(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"name": "Kitchen", "topic": "What is for dinner"})
		bob.Joins(room)
		if got := bob.State(room, "m.room.name", "").At("name").Text(); got != "Kitchen" {
			t.Errorf("the name is %q", got)
		}
		if got := bob.State(room, "m.room.topic", "").At("topic").Text(); got != "What is for dinner" {
			t.Errorf("the topic is %q", got)
		}
		first := alice.SetsState(room, "m.room.name", "", map[string]any{"name": "Bathroom"})
		e := bob.SeesEvent(room, "the new name", func(e story.JSON) bool { return e.At("content", "name").Text() == "Bathroom" })
		if e.At("unsigned", "prev_content", "name").Text() != "Kitchen" || e.At("unsigned", "replaces_state").Text() == "" {
			t.Errorf("the change of the name has unsigned %s", e.At("unsigned"))
		}
		if again := alice.SetsState(room, "m.room.name", "", map[string]any{"name": "Bathroom"}); again != first {
			t.Logf("setting the same state again made %s after %s", again, first) // allowed either way
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "state", "m.room.name")+"/", map[string]any{"name": "x"})
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", room, "state", "org.example.none"), nil)
		alice.SetsState(room, "org.example.thing", "a key", map[string]any{"n": 1})
		if n := bob.State(room, "org.example.thing", "a key").At("n").Int(); n != 1 {
			t.Errorf("a state event with a key has n = %d", n)
		}
		full := bob.Reads(story.Path("rooms", room, "state", "org.example.thing", "a key") + "?format=event")
		if full.At("state_key").Text() != "a key" || full.At("event_id").Text() == "" {
			t.Errorf("the state as an event is %s", full)
		}
		all := bob.Reads(story.Path("rooms", room, "state")).List()
		seen := map[string]bool{}
		for _, e := range all {
			key := e.At("type").Text() + "\x00" + e.At("state_key").Text()
			if seen[key] {
				t.Errorf("the state has %q twice", key)
			}
			seen[key] = true
		}
		for _, want := range []string{"m.room.create\x00", "m.room.name\x00", "m.room.member\x00" + bob.ID, "org.example.thing\x00a key"} {
			if !seen[want] {
				t.Errorf("the state lacks %q", want)
			}
		}
	})
}

func TestProfileGoesIntoTheRooms(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Syncs()
		alice.Must("PUT", story.Path("profile", alice.ID, "displayname"), map[string]any{"displayname": "Alice in Chains"})
		bob.SeesEvent(room, "alice's new name", func(e story.JSON) bool {
			return e.At("type").Text() == "m.room.member" && e.At("content", "displayname").Text() == "Alice in Chains"
		})
		alice.Must("PUT", story.Path("profile", alice.ID, "avatar_url"), map[string]any{"avatar_url": "mxc://localhost/abc"})
		member := bob.SeesEvent(room, "alice's avatar", func(e story.JSON) bool { return e.At("content", "avatar_url").Text() != "" })
		if member.At("content", "displayname").Text() != "Alice in Chains" {
			t.Errorf("with the avatar the name was lost: %s", member)
		}
		p := hs.Nobody().Reads(story.Path("profile", alice.ID))
		if p.At("displayname").Text() != "Alice in Chains" || p.At("avatar_url").Text() != "mxc://localhost/abc" {
			t.Errorf("the profile is %s", p)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("profile", alice.ID, "displayname"), map[string]any{"displayname": "x"})
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("profile", "@nobody:localhost"), nil)
		second := alice.CreatesRoom()
		if got := alice.State(second, "m.room.member", alice.ID).At("displayname").Text(); got != "Alice in Chains" {
			t.Errorf("in a new room alice is called %q", got)
		}
	})
}
