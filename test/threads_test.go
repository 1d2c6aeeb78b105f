package test

import (
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func withThreads(c *config.Config) { c.Push.ThreadSubscriptions = true }

// subscription is the path of a user's subscription to a thread.
func subscription(room, thread string) string {
	return "/_matrix/client/unstable/io.element.msc4306" + story.Path("rooms", room, "thread", thread, "subscription")
}

// answersIn sends a message into a thread.
func answersIn(u *story.User, room, thread, text string) string {
	return u.SendsEvent(room, "m.room.message", u.Txn(), map[string]any{
		"msgtype": "m.text", "body": text, "m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": thread},
	})
}

func TestUsersFollowThreads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withThreads)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		if !alice.Reads("/_matrix/client/versions").At("unstable_features", "org.matrix.msc4306").Bool() {
			t.Error("the feature is not told")
		}
		room := alice.CreatesRoom(private())
		alice.Invites(room, bob)
		bob.Joins(room)
		root := alice.Says(room, "what about threads?")
		first := answersIn(alice, room, root, "first")
		path := subscription(room, root)

		bob.IsRefused(matrix.CodeNotFound, 404, "GET", path, nil)
		eve.IsRefused(matrix.CodeNotFound, 404, "PUT", path, `{}`)
		bob.IsRefused(matrix.CodeNotFound, 404, "PUT", subscription(room, "$nothing"), `{}`)
		for _, cause := range []string{root, "$nothing", alice.Says(room, "outside")} {
			bob.IsRefused("IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", 400, "PUT", path, map[string]any{"automatic": cause})
		}
		bob.IsRefused(matrix.CodeBadJSON, 400, "PUT", path, `{"automatic":true}`)
		automatic := func() string { return bob.Must("GET", path, nil).String() }
		bob.Must("PUT", path, map[string]any{"automatic": first})
		if got := automatic(); got != `{"automatic":true}` {
			t.Errorf("the subscription is %s", got)
		}
		bob.Must("PUT", path, `{}`)
		bob.Must("PUT", path, map[string]any{"automatic": first}) // weighs less than what the user did
		if got := automatic(); got != `{"automatic":false}` {
			t.Errorf("the subscription is %s", got)
		}
		second := answersIn(alice, room, root, "second")
		bob.Must("DELETE", path, nil)
		bob.Must("DELETE", path, nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", path, nil)
		for _, cause := range []string{first, second} {
			bob.IsRefused("IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION", 409, "PUT", path, map[string]any{"automatic": cause})
		}
		bob.Must("PUT", path, map[string]any{"automatic": answersIn(alice, room, root, "third")})
	})
}

func TestFollowedThreadsNotify(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withThreads)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		followed, other := alice.Says(room, "one"), alice.Says(room, "another")
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", other), `{}`)
		bob.Must("PUT", subscription(room, followed), `{}`)
		bob.Must("PUT", story.Path("pushrules", "global", "room", room), `{"actions":[]}`) // which threads do not heed
		answersIn(alice, room, followed, "in one")
		answersIn(alice, room, other, "in another")
		unread := func(a story.JSON, thread string) int64 {
			return a.At("rooms", "join", room, "unread_thread_notifications", thread, "notification_count").Int()
		}
		const filter = `{"room":{"timeline":{"unread_thread_notifications":true}}}`
		a := bob.SyncsAnew("filter", filter)
		if unread(a, followed) != 1 || unread(a, other) != 0 {
			t.Errorf("unread: %s", a.At("rooms", "join", room, "unread_thread_notifications"))
		}
		bob.Must("DELETE", subscription(room, followed), nil)
		bob.Must("PUT", subscription(room, other), `{}`)
		if a = bob.SyncsAnew("filter", filter); unread(a, followed) != 0 || unread(a, other) != 1 {
			t.Errorf("after the change unread: %s", a.At("rooms", "join", room, "unread_thread_notifications"))
		}
		if got := ruleIDs(bob, "postcontent"); got != ".io.element.msc4306.rule.unsubscribed_thread .io.element.msc4306.rule.subscribed_thread" {
			t.Errorf("the rules are %s", got)
		}
		bob.IsRefused(matrix.CodeInvalidParam, 400, "PUT", "/pushrules/global/postcontent/mine", `{"conditions":[],"actions":[]}`)
	})
}

func TestPagesOfThreadSubscriptions(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		const list = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions?dir=b"
		hs := story.Start(t, dsn, withThreads)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		var roots []string
		for range 5 {
			roots = append(roots, alice.Says(room, "root"))
			alice.Must("PUT", subscription(room, roots[len(roots)-1]), `{}`)
		}
		alice.Must("DELETE", subscription(room, roots[1]), nil)
		page := alice.Must("GET", list+"&limit=2", nil)
		bump := page.At("subscribed", room, roots[4], "bump_stamp").Int()
		if gone := page.At("unsubscribed", room, roots[1], "bump_stamp").Int(); gone <= bump || bump == 0 || page.At("end").Text() == "" {
			t.Errorf("the first page is %s", page)
		}
		rest := alice.Must("GET", list+"&from="+page.At("end").Text(), nil)
		if n := len(rest.At("subscribed", room).Keys()); n != 3 || rest.Has("unsubscribed") || rest.Has("end") {
			t.Errorf("the second page is %s", rest)
		}
		to := alice.Syncs().At("next_batch").Text()
		alice.Must("PUT", subscription(room, roots[1]), `{}`)
		if page := alice.Must("GET", list+"&to="+to, nil); len(page.At("subscribed", room).Keys()) != 1 {
			t.Errorf("since the sync: %s", page)
		}
		for _, bad := range []string{"?dir=f", "?dir=b&limit=0", "?dir=b&from=x", "?dir=b&to=x", "?dir=b&limit=x"} {
			alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions"+bad, nil)
		}
	})
}

func TestThreadsAreNotFollowedUnlessSet(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice := hs.User("alice")
	room := alice.CreatesRoom()
	alice.IsRefused(matrix.CodeUnrecognized, 404, "PUT", subscription(room, alice.Says(room, "x")), `{}`)
	if rules := alice.Reads("/pushrules/global/"); rules.Has("postcontent") {
		t.Errorf("there are rules for threads: %s", rules)
	}
	if alice.Reads("/_matrix/client/versions").At("unstable_features").Has("org.matrix.msc4306") {
		t.Error("the feature is told")
	}
}

func TestLegacyMentionsAreASetting(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, func(c *config.Config) { c.Push.LegacyMentions = true })
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", alice.Says(room, "read")), `{}`)
		alice.Says(room, "hello "+bob.ID)
		alice.SendsEvent(room, "m.room.message", alice.Txn(), map[string]any{"msgtype": "m.text", "body": "of bob, not to bob", "m.mentions": map[string]any{}})
		count := bob.SyncsAnew().At("rooms", "join", room, "unread_notifications")
		if count.At("highlight_count").Int() != 1 || count.At("notification_count").Int() != 2 {
			t.Errorf("unread: %s", count)
		}
		if got := ruleIDs(bob, "content"); got != ".m.rule.contains_user_name" {
			t.Errorf("the rules are %s", got)
		}
	})
}
