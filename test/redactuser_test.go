package test

import (
	"fmt"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// redactUserPath is where what a user has sent to a room is redacted.
func redactUserPath(room, user string) string {
	return "/_matrix/client/unstable/org.matrix.msc4194" + story.Path("rooms", room, "redact", "user", user)
}

func TestModeratorRedactsAUser(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		room := alice.CreatesRoom()
		bob.Joins(room)
		eve.Joins(room)
		if !alice.Reads("/_matrix/client/versions").At("unstable_features", "org.matrix.msc4194").Bool() {
			t.Error("the versions do not tell of it")
		}
		var spam []string
		for i := range 30 {
			spam = append(spam, eve.Says(room, fmt.Sprint("spam ", i)))
		}
		ham := bob.Says(room, "ham")
		topic := alice.SetsState(room, "m.room.topic", "", map[string]any{"topic": "of alice"})
		alice.Redacts(room, spam[29], "by hand")
		path := redactUserPath(room, eve.ID)
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", path, `{}`)
		hs.User("mallory").IsRefused(matrix.CodeForbidden, 403, "POST", path, `{}`)
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", redactUserPath("!nowhere:localhost", eve.ID), `{}`)

		alice.Bans(room, eve, "spam")
		alice.Must("PUT", "/user/"+alice.ID+"/account_data/m.ignored_user_list", `{"ignored_users":{"`+eve.ID+`":{}}}`) // is no reason to leave it
		a := alice.Must("POST", path, `{"reason":"spam"}`)
		if a.At("redacted_events", "total").Int() != 25 || a.At("redacted_events", "soft_failed").Int() != 0 || !a.At("is_more_events").Bool() {
			t.Errorf("the first request is answered by %s", a)
		}
		if e := bob.Reads(story.Path("rooms", room, "event", spam[28])); e.At("unsigned", "redacted_because", "content", "reason").Text() != "spam" {
			t.Errorf("the newest is %s", e)
		}
		if e := bob.Reads(story.Path("rooms", room, "event", spam[0])); !e.At("content").Has("body") {
			t.Errorf("the oldest is %s", e)
		}
		if a := alice.Must("POST", path+"?limit=1000", nil); a.At("redacted_events", "total").Int() != 5 || a.At("is_more_events").Bool() { // four messages and a join
			t.Errorf("the second request is answered by %s", a)
		}
		if a := alice.Must("POST", path, `{}`); a.At("redacted_events", "total").Int() != 0 || a.At("is_more_events").Bool() {
			t.Errorf("the third request is answered by %s", a)
		}
		for _, event := range spam {
			if e := bob.Reads(story.Path("rooms", room, "event", event)); e.At("content").Has("body") {
				t.Errorf("left is %s", e)
			}
		}
		if e := bob.Reads(story.Path("rooms", room, "event", ham)); !e.At("content").Has("body") {
			t.Errorf("bob's is %s", e)
		}

		// Everybody may redact what they sent themselves; state stays.
		if a := bob.Must("POST", redactUserPath(room, bob.ID)+"?limit=1", `{}`); a.At("redacted_events", "total").Int() != 1 || !a.At("is_more_events").Bool() {
			t.Errorf("bob redacts %s", a)
		}
		alice.Must("POST", redactUserPath(room, alice.ID)+"?limit=100", `{}`)
		if e := bob.Reads(story.Path("rooms", room, "event", topic)); e.At("content", "topic").Text() != "of alice" {
			t.Errorf("the topic is %s", e)
		}
		bob.IsRefused(matrix.CodeInvalidParam, 400, "POST", path+"?limit=0", `{}`)
		bob.IsRefused(matrix.CodeInvalidParam, 400, "POST", path+"?limit=many", `{}`)
		bob.IsRefused(matrix.CodeBadJSON, 400, "POST", path, `{"reason":7}`)
		bob.IsRefused(matrix.CodeInvalidParam, 400, "POST", redactUserPath(room, "nobody"), `{}`)
	})
}

func TestRedactionOfAUserIsLimited(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, func(c *config.Config) {
			c.RateLimits = config.RateLimits{Enabled: true, Redact: config.LimitClass{Account: config.Rate{PerSecond: 0.001, Burst: 3}}}
		})
		alice, eve := hs.User("alice"), hs.User("eve")
		room := alice.CreatesRoom()
		eve.Joins(room)
		for i := range 5 {
			eve.Says(room, fmt.Sprint("spam ", i))
		}
		path := redactUserPath(room, eve.ID)
		if a := alice.Must("POST", path, `{}`); a.At("redacted_events", "total").Int() != 3 || !a.At("is_more_events").Bool() {
			t.Errorf("the answer is %s", a)
		}
		if a := alice.IsRefused(matrix.CodeLimitExceeded, 429, "POST", path, `{}`); a.At("retry_after_ms").Int() == 0 {
			t.Errorf("the answer is %s", a)
		}
	})
}

// TestWhatARoomDidNotTakeIsRedacted: a server whose user was banned goes on without knowing of it.
func TestWhatARoomDidNotTakeIsRedacted(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		id, mallory := string(room.ID), string(room.User)
		seen := room.Says("spam that is seen")
		sends(t, f, hs, "1", []any{seen})
		alice.Sees(id, "spam that is seen")
		alice.Must("POST", story.Path("rooms", id, "ban"), `{"user_id":"`+mallory+`"}`)
		hidden := []any{room.Says("spam that is not seen"), room.Says("and more of it")}
		if answer := sends(t, f, hs, "2", hidden); len(answer.Keys()) != 2 {
			t.Fatalf("the events are answered by %s", answer)
		}
		for hid := int64(0); hid < 2; { // they are taken after they were answered
			hid += alice.Must("POST", redactUserPath(id, mallory), `{}`).At("redacted_events", "soft_failed").Int()
		}
		if a := alice.Must("POST", redactUserPath(id, mallory), `{}`); a.At("redacted_events", "total").Int() != 0 {
			t.Errorf("once more it redacts %s", a)
		}
		if e := alice.Reads(story.Path("rooms", id, "event", string(seen.ID()))); e.At("content").Has("body") {
			t.Errorf("what was seen is %s", e)
		}
	})
}
