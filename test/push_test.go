package test

import (
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// ruleIDs lists the rules of a kind in their order.
func ruleIDs(u *story.User, kind string) string {
	return strings.Join(u.Must("GET", "/pushrules/global/", nil).At(kind).Texts("rule_id"), " ")
}

func TestPushRules(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		rules := alice.Must("GET", "/pushrules/", nil).At("global")
		if first := rules.At("override").List()[0].At("rule_id").Text(); first != ".m.rule.master" || rules.At("content").List() == nil {
			t.Errorf("the rules begin with %q: %s", first, rules)
		}
		mention, _ := rules.At("override").Find(func(r story.JSON) bool { return r.At("rule_id").Text() == ".m.rule.is_user_mention" })
		if got := mention.At("conditions", 0, "value").Text(); got != alice.ID {
			t.Errorf("the rule for mentions is of %q: %s", got, mention)
		}

		const of = "/pushrules/global/content/"
		alice.Must("PUT", of+"a", `{"pattern":"cake","actions":["notify"]}`)
		alice.Must("PUT", of+"b", `{"pattern":"cake","actions":["notify",{"set_tweak":"highlight"}]}`)
		alice.Must("PUT", of+"c?after=b", `{"pattern":"cake","actions":[]}`)
		alice.Must("PUT", of+"d?before=b", `{"pattern":"cake","actions":[]}`)
		if got := ruleIDs(alice, "content"); got != "d b c a" {
			t.Errorf("the order is %s", got)
		}
		alice.Must("DELETE", of+"d", nil)
		if got := ruleIDs(alice, "content"); got != "b c a" {
			t.Errorf("the order is %s", got)
		}
		if got := alice.Must("GET", of+"a", nil).String(); got != `{"actions":["notify"],"default":false,"enabled":true,"pattern":"cake","rule_id":"a"}` {
			t.Errorf("the rule is %s", got)
		}
		alice.Must("PUT", of+"a/enabled", `{"enabled":false}`)
		alice.Must("PUT", of+"a/actions", `{"actions":["notify",{"set_tweak":"sound","value":"default"}]}`)
		if got := alice.Must("GET", of+"a/enabled", nil).String() + alice.Must("GET", of+"a/actions", nil).String(); got !=
			`{"enabled":false}{"actions":["notify",{"set_tweak":"sound","value":"default"}]}` {
			t.Errorf("the rule is %s", got)
		}
		alice.Must("PUT", "/pushrules/global/underride/.m.rule.message/actions", `{"actions":[]}`)
		if got := alice.Must("GET", "/pushrules/global/underride/.m.rule.message", nil); !got.At("default").Bool() || len(got.At("actions").List()) != 0 {
			t.Errorf("the default rule is %s", got)
		}
		if got := ruleIDs(bob, "content"); got != "" {
			t.Errorf("bob has rules of alice: %s", got)
		}

		alice.IsRefused(matrix.CodeNotFound, 404, "GET", of+"nothing", nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "PUT", of+"nothing/enabled", `{"enabled":true}`)
		alice.IsRefused(matrix.CodeNotFound, 404, "DELETE", of+"d", nil)
		alice.IsRefused(matrix.CodeUnrecognized, 404, "GET", "/pushrules/global/afterword/x", nil)
		alice.IsRefused(matrix.CodeUnknown, 400, "PUT", of+"e?before=nothing", `{"pattern":"cake","actions":[]}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", of+".mine", `{"pattern":"cake","actions":[]}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", of+story.Path("a/b")[1:], `{"pattern":"cake","actions":[]}`)
		alice.IsRefused(matrix.CodeMissingParam, 400, "PUT", of+"e", `{"pattern":"cake"}`)
		alice.IsRefused(matrix.CodeMissingParam, 400, "PUT", of+"a/enabled", `{}`)
	})
}

func TestPushRulesAreAccountData(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		rules := func(a story.JSON) story.JSON {
			e, _ := a.At("account_data", "events").Find(func(e story.JSON) bool { return e.At("type").Text() == "m.push_rules" })
			return e.At("content", "global")
		}
		if first := alice.SyncsAnew(); len(rules(first).At("override").List()) == 0 {
			t.Errorf("a first sync has no push rules: %s", first.At("account_data"))
		}
		alice.Must("PUT", story.Path("pushrules", "global", "room", room), `{"actions":[]}`)
		alice.Waits("the new rule", func(a story.JSON) bool { return rules(a).At("room", 0, "rule_id").Text() == room })
		if got := alice.Must("GET", story.Path("user", alice.ID, "account_data", "m.push_rules"), nil).At("global", "room", 0, "rule_id").Text(); got != room {
			t.Errorf("the account data has the rule %q", got)
		}
	})
}

func TestUnreadCounts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Syncs()
		counts := func(notify, highlight int64) func(story.JSON) bool {
			return func(a story.JSON) bool {
				n := a.At("rooms", "join", room, "unread_notifications")
				return n.There() && n.At("notification_count").Int() == notify && n.At("highlight_count").Int() == highlight
			}
		}
		root := alice.Says(room, "root")
		bob.Waits("one", counts(1, 0))
		mention := alice.SendsEvent(room, "m.room.message", "m", map[string]any{
			"msgtype": "m.text", "body": "hey", "m.mentions": map[string]any{"user_ids": []string{bob.ID}},
		})
		bob.Waits("two, one of them a mention", counts(2, 1))
		alice.SendsEvent(room, "m.room.message", "r", map[string]any{
			"msgtype": "m.text", "body": "reply", "m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": root},
		})
		bob.Waits("three", counts(3, 1))
		a := bob.SyncsFrom("", "filter", `{"room":{"timeline":{"unread_thread_notifications":true}}}`)
		if !counts(2, 1)(a) || a.At("rooms", "join", room, "unread_thread_notifications", root, "notification_count").Int() != 1 {
			t.Errorf("with threads apart: %s", a.At("rooms", "join", room))
		}
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", mention), `{"thread_id":"main"}`)
		bob.Waits("the thread alone", counts(1, 0))
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", mention), `{}`)
		alice.Says(room, "more")
		bob.Waits("the thread, and more", counts(2, 0))
		bob.Says(room, "read it")
		bob.Waits("the thread alone again", counts(1, 0))
	})
}

func TestPushers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		pusher := func(key string, more map[string]any) map[string]any {
			p := map[string]any{
				"app_id": "org.example.app", "pushkey": key, "kind": "http", "app_display_name": "App", "device_display_name": "Phone", "lang": "en",
				"data": map[string]any{"url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only"},
			}
			for k, v := range more {
				p[k] = v
			}
			return p
		}
		keys := func(u *story.User) string {
			return strings.Join(u.Must("GET", "/pushers", nil).At("pushers").Texts("pushkey"), " ")
		}
		alice.Must("POST", "/pushers/set", pusher("one", nil))
		alice.Must("POST", "/pushers/set", pusher("two", nil))
		if got := keys(alice); got != "one two" {
			t.Errorf("the pushers are %q", got)
		}
		if p := alice.Must("GET", "/pushers", nil).At("pushers", 0); p.At("data", "format").Text() != "event_id_only" || p.At("lang").Text() != "en" {
			t.Errorf("the pusher is %s", p)
		}
		bob.Must("POST", "/pushers/set", pusher("one", map[string]any{"append": true}))
		bob.Must("POST", "/pushers/set", pusher("two", nil))
		if got := keys(alice); got != "one" {
			t.Errorf("the pushers are %q once a device changed hands", got)
		}
		alice.Must("POST", "/pushers/set", map[string]any{"app_id": "org.example.app", "pushkey": "one", "kind": nil})
		if got := keys(alice); got != "" {
			t.Errorf("the pushers are %q", got)
		}
		alice.IsRefused(matrix.CodeMissingParam, 400, "POST", "/pushers/set", `{"app_id":"a","pushkey":"b"}`)
		alice.IsRefused(matrix.CodeMissingParam, 400, "POST", "/pushers/set", pusher("one", map[string]any{"data": map[string]any{}}))
		alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", "/pushers/set", pusher("one", map[string]any{"data": map[string]any{"url": "https://push.example.org/"}}))
		bob.Must("POST", "/logout", nil)
		if got := keys(bob.LogsIn()); got != "" {
			t.Errorf("after the log-out the pushers are %q", got)
		}
	})
}

func TestPresence(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		bob.Joins(alice.CreatesRoom())
		path := story.Path("presence", alice.ID, "status")
		alice.Must("PUT", path, `{"presence":"online","status_msg":"here"}`)
		if p := bob.Must("GET", path, nil); p.At("presence").Text() != "online" || p.At("status_msg").Text() != "here" || !p.At("currently_active").Bool() {
			t.Errorf("alice is %s", p)
		}
		eve.IsRefused(matrix.CodeForbidden, 403, "GET", path, nil)
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", path, `{"presence":"offline"}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", path, `{"presence":"asleep"}`)
	})
}
