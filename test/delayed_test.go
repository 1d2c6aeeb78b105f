package test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// The endpoints of delayed events, by their stable names and those that call services know.
const (
	delayedPath    = "/_matrix/client/v1/delayed_events"
	oldDelayedPath = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
)

// leaves leaves an event to be sent later, and gives its delay id.
func leaves(u *story.User, room, eventType, txn string, body any) string {
	return u.Must("PUT", story.Path("rooms", room, "delayed_event", eventType, txn), body).At("delay_id").Text()
}

// later is a text that is sent after a delay.
func later(delay time.Duration, text string) map[string]any {
	return map[string]any{"delay_ms": delay.Milliseconds(), "content": map[string]any{"msgtype": "m.text", "body": text}}
}

// waiting lists the ids of what a user left to be sent and waits.
func waiting(u *story.User) []string {
	return u.Must("GET", delayedPath, nil).At("delayed_events").Texts("delay_id")
}

func TestEventsAreSentLater(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		id := leaves(alice, room, "m.room.message", "t1", later(50*time.Millisecond, "good morning"))
		if again := leaves(alice, room, "m.room.message", "t1", later(time.Hour, "again")); again != id {
			t.Errorf("the repeated request is answered %s, not %s", again, id)
		}
		seen := alice.Sees(room, "good morning")
		if got := seen.At("unsigned", "delay_id").Text(); got != id || seen.At("unsigned", "org.matrix.msc4140.delay_id").Text() != id {
			t.Errorf("alice is shown %s, and left %s", seen, id)
		}
		if e := bob.Sees(room, "good morning"); e.At("unsigned").Has("delay_id") {
			t.Errorf("bob is shown the delay id: %s", e)
		}
		e := alice.Must("GET", delayedPath+"/"+id, nil)
		if e.At("event_id").Text() != seen.At("event_id").Text() || e.At("finalised_ts").Int() < e.At("scheduled_at").Int()+50 ||
			e.At("delay_ms").Int() != 50 || e.At("room_id").Text() != room || e.At("content", "body").Text() != "good morning" {
			t.Errorf("of the event is told %s", e)
		}
		if left := waiting(alice); len(left) != 0 {
			t.Errorf("%v wait", left)
		}

		state := leaves(alice, room, "m.room.topic", "t2", map[string]any{
			"delay_ms": 1, "state_key": "", "content": map[string]any{"topic": "tea"},
		})
		alice.SeesEvent(room, "the topic", func(e story.JSON) bool { return e.At("content", "topic").Text() == "tea" })
		if e := alice.Must("GET", delayedPath+"/"+state, nil); !e.Has("state_key") || e.At("type").Text() != "m.room.topic" {
			t.Errorf("of the state event is told %s", e)
		}
		old := alice.Must("PUT", story.Path("rooms", room, "send", "m.room.message", "t3")+"?org.matrix.msc4140.delay=1",
			`{"msgtype":"m.text","body":"in the old form"}`)
		if !old.Has("delay_id") || old.Has("event_id") {
			t.Errorf("the old form is answered %s", old)
		}
		alice.Sees(room, "in the old form")
		target := alice.Says(room, "soon gone")
		leaves(alice, room, "m.room.redaction", "t4", map[string]any{"delay_ms": 1, "content": map[string]any{"redacts": target}})
		alice.SeesEvent(room, "the redaction", func(e story.JSON) bool { return e.At("type").Text() == "m.room.redaction" })
	})
}

func TestDelayedEventsAreManaged(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, service := hs.User("alice"), hs.User("bob"), hs.Nobody()
		room := alice.CreatesRoom()
		first := leaves(alice, room, "m.room.message", "t1", later(2*time.Hour, "first"))
		second := leaves(alice, room, "m.room.message", "t2", later(time.Hour, "second"))
		if got := waiting(alice); len(got) != 2 || got[0] != second || got[1] != first {
			t.Errorf("%v wait, want %s and %s", got, second, first)
		}
		if got := waiting(bob); len(got) != 0 {
			t.Errorf("bob is told of %v", got)
		}
		for _, action := range []string{"send", "cancel", "restart"} {
			bob.IsRefused(matrix.CodeNotFound, 404, "POST", delayedPath+"/"+first+"/"+action, `{}`)
			service.IsRefused(matrix.CodeMissingToken, 401, "POST", delayedPath+"/"+first+"/"+action, `{}`)
			service.IsRefused(matrix.CodeNotFound, 404, "POST", oldDelayedPath+"/abc/"+action, `{}`)
			service.IsRefused(matrix.CodeNotFound, 404, "POST", oldDelayedPath+"/zz/"+action, `{}`)
		}
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", delayedPath+"/"+first, nil)
		service.IsRefused(matrix.CodeMissingToken, 401, "GET", oldDelayedPath, nil)
		service.IsRefused(matrix.CodeNotFound, 404, "POST", oldDelayedPath+"/"+first+"/explode", `{}`)
		service.IsRefused(matrix.CodeMissingParam, 400, "POST", oldDelayedPath+"/"+first, `{}`)

		since := func(id string) int64 { return alice.Must("GET", delayedPath+"/"+id, nil).At("scheduled_at").Int() }
		before := since(second)
		for since(second) == before { // until the clock has moved
			service.Must("POST", oldDelayedPath+"/"+second, `{"action":"restart"}`)
		}
		service.Must("POST", oldDelayedPath+"/"+second+"/send", `{}`)
		alice.Sees(room, "second")
		service.Must("POST", oldDelayedPath+"/"+second+"/send", `{}`) // once more
		for _, action := range []string{"cancel", "restart"} {
			alice.IsRefused(matrix.CodeUnknown, 409, "POST", delayedPath+"/"+second+"/"+action, `{}`)
		}
		alice.Must("POST", delayedPath+"/"+first+"/cancel", `{}`)
		alice.Must("POST", delayedPath+"/"+first+"/cancel", `{}`)
		for _, action := range []string{"send", "restart"} {
			alice.IsRefused(matrix.CodeUnknown, 409, "POST", delayedPath+"/"+first+"/"+action, `{}`)
		}
		if e := alice.Must("GET", delayedPath+"/"+first, nil); !e.Has("finalised_ts") || e.Has("event_id") || e.Has("error") {
			t.Errorf("of the cancelled event is told %s", e)
		}
		sent := 0
		for _, e := range alice.History(room) {
			if e.At("content", "body").Text() == "second" {
				sent++
			}
		}
		if sent != 1 || len(waiting(alice)) != 0 {
			t.Errorf("the second event was sent %d times, and %v wait", sent, waiting(alice))
		}
	})
}

func TestDelayedEventsOfThoseWhoMayNotSend(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		kept := leaves(bob, room, "m.room.message", "t1", later(time.Hour, "I am not there yet"))
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", delayedPath+"/"+kept+"/send", `{}`)
		if got := waiting(bob); len(got) != 1 {
			t.Errorf("after an error %v wait", got)
		}
		bob.Joins(room)
		bob.Must("POST", delayedPath+"/"+kept+"/send", `{}`)
		alice.Sees(room, "I am not there yet")
		bob.Leaves(room)
		lost := leaves(bob, room, "m.room.message", "t2", later(time.Millisecond, "from outside"))
		e := bob.Finds("the end of the event", delayedPath+"/"+lost, func(e story.JSON) bool { return e.Has("finalised_ts") })
		if e.At("error", "errcode").Text() != "M_FORBIDDEN" || e.At("error", "error").Text() == "" || e.Has("event_id") {
			t.Errorf("of the refused event is told %s", e)
		}
	})
}

func TestDelayedEventsHaveLimits(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, func(c *config.Config) {
			c.DelayedEvents.MaxScheduled, c.DelayedEvents.MaxDelay = 2, config.Duration(time.Hour)
		})
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		limits := alice.Reads("/capabilities").At("capabilities", "m.delayed_events")
		if limits.At("max_scheduled").Int() != 2 || limits.At("max_delay_ms").Int() != 3_600_000 {
			t.Errorf("the limits are told as %s", limits)
		}
		path := story.Path("rooms", room, "delayed_event", "m.room.message", "t")
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", path, later(time.Hour+time.Millisecond, "late"))
		old := alice.IsRefused(matrix.CodeUnknown, 400, "PUT",
			story.Path("rooms", room, "send", "m.room.message", "t")+"?org.matrix.msc4140.delay=3600001", `{}`)
		if old.At("org.matrix.msc4140.errcode").Text() != "M_MAX_DELAY_EXCEEDED" || old.At("org.matrix.msc4140.max_delay").Int() != 3_600_000 {
			t.Errorf("the old form is refused by %s", old)
		}
		for i := range 2 {
			leaves(alice, room, "m.room.message", fmt.Sprint("t", i), later(time.Hour, "x"))
		}
		a := alice.IsRefused(matrix.CodeLimitExceeded, 429, "PUT", path, later(time.Minute, "one too many"))
		if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after > 3600 || after < 3000 { // until the first is sent
			t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
		}
		for name, body := range map[string]string{
			"no delay": `{"content":{}}`, "no content": `{"delay_ms":1}`, "content is a list": `{"delay_ms":1,"content":[]}`,
			"delay is zero": `{"delay_ms":0,"content":{}}`, "delay is negative": `{"delay_ms":-1,"content":{}}`,
			"delay is text": `{"delay_ms":"1","content":{}}`, "key is a number": `{"delay_ms":1,"content":{},"state_key":1}`,
			"invites elsewhere": `{"delay_ms":1,"content":{"membership":"invite"},"state_key":"@bob:elsewhere.org"}`,
			"delay is vast":     `{"delay_ms":9007199254740991,"content":{}}`,
		} {
			if a := alice.Does("PUT", strings.Replace(path, "m.room.message", "m.room.member", 1), body); a.Status != 400 && a.Status != 403 {
				t.Errorf("%s: %d %s", name, a.Status, a)
			}
		}
		alice.IsRefused(matrix.CodeNotJSON, 400, "PUT", story.Path("rooms", room, "send", "m.room.message", "t9"), nil)
	})
}

func TestServerWithoutDelayedEvents(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t), func(c *config.Config) { c.DelayedEvents.MaxScheduled = 0 })
	alice := hs.User("alice")
	room := alice.CreatesRoom()
	alice.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "delayed_event", "m.room.message", "t"), later(time.Second, "x"))
}

func TestDelayedEventsOutliveTheServer(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		due := map[string]int64{}
		for i := range 5 { // the later it is left, the earlier it is due, but on a slow machine
			text := fmt.Sprint("number ", i)
			id := leaves(alice, room, "m.room.message", fmt.Sprint("t", i), later(time.Duration(1000-100*i)*time.Millisecond, text))
			e := alice.Reads(delayedPath + "/" + id)
			due[text] = e.At("scheduled_at").Int() + e.At("delay_ms").Int()
		}
		kept := leaves(alice, room, "m.room.message", "kept", later(time.Hour, "kept"))
		hs.Stop()
		time.Sleep(time.Second) // time passes: all but one are due before the server is there again
		hs.Restart()
		for text := range due {
			alice.Sees(room, text)
		}
		sent := bodies(alice.History(room))
		if len(sent) != len(due) || !slices.IsSortedFunc(sent, func(a, b string) int { return cmp.Compare(due[a], due[b]) }) {
			t.Errorf("they were sent in the order %q, and are due at %v", sent, due)
		}
		if got := waiting(alice); len(got) != 1 || got[0] != kept {
			t.Errorf("%v wait, and not %s", got, kept)
		}
	})
}

func TestNodesSendDelayedEventsOnce(t *testing.T) {
	ofTwoNodes(t, func(t *testing.T, one, two *story.Server) {
		alice := one.User("alice")
		other := alice.Through(two)
		room := alice.CreatesRoom()
		const n = 20
		for i := range n {
			from := []*story.User{alice, other}[i%2]
			leaves(from, room, "m.room.message", fmt.Sprint("t", i), later(time.Duration(1+i)*time.Millisecond, "once"))
		}
		alice.Finds("nothing to wait", delayedPath, func(a story.JSON) bool { return len(a.At("delayed_events").List()) == 0 })
		sent := 0
		for _, e := range alice.History(room) {
			if e.At("content", "body").Text() == "once" {
				sent++
			}
		}
		if sent != n {
			t.Errorf("%d events were left and %d sent", n, sent)
		}
	})
}
