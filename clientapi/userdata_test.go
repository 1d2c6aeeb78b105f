package clientapi_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

func TestProfile(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		var told []string
		w := newWorld(t, dsn, func(o *account.Options) {
			o.Profile = func(_ context.Context, user matrix.UserID, field string) error {
				told = append(told, string(user)+" "+field)
				return nil
			}
		})
		alice, bob := token(w.user("alice")), token(w.user("bob"))
		const of = "/profile/@alice:example.org"
		if p := w.ok("", "GET", of, nil); len(p.Keys()) != 0 {
			t.Errorf("a new profile is %s", p)
		}
		w.ok(alice, "PUT", of+"/displayname", object{"displayname": "Älice <3"})
		w.ok(alice, "PUT", of+"/avatar_url", object{"avatar_url": "mxc://example.org/x"})
		w.ok(alice, "PUT", of+"/m.tz", object{"m.tz": "Europe/London"})
		w.ok(alice, "PUT", of+"/org.example.job", object{"org.example.job": object{"title": nil, "since": 2.5}})
		w.ok(alice, "PUT", "/_matrix/client/unstable/uk.tcpip.msc4133"+of+"/org.example.nothing", `{"org.example.nothing":null}`)
		want := `{"avatar_url":"mxc://example.org/x","displayname":"Älice <3","m.tz":"Europe/London",` +
			`"org.example.job":{"since":2.5,"title":null},"org.example.nothing":null}`
		if p := w.ok("", "GET", of, nil); strings.ReplaceAll(p.String(), `\u003c`, "<") != want {
			t.Errorf("profile %s", p)
		}
		if p := w.ok("", "GET", of+"/displayname", nil); p.At("displayname").Text() != "Älice <3" || len(p.Keys()) != 1 {
			t.Errorf("displayname %s", p)
		}
		w.ok(alice, "DELETE", of+"/displayname", nil)
		w.ok(alice, "DELETE", of+"/displayname", nil)
		w.refused(404, matrix.CodeNotFound, "", "GET", of+"/displayname", nil)
		w.ok(alice, "PUT", of+"/avatar_url", object{"avatar_url": ""})
		w.refused(404, matrix.CodeNotFound, "", "GET", of+"/avatar_url", nil)
		if !slices.Contains(told, "@alice:example.org displayname") || len(told) != 8 {
			t.Errorf("told were %v", told)
		}

		for _, c := range []struct {
			field, body string
			status      int
			code        matrix.Code
		}{
			{"displayname", `{"displayname":1}`, 400, matrix.CodeBadJSON},
			{"displayname", `{"displayname":null}`, 400, matrix.CodeBadJSON},
			{"displayname", `{}`, 400, matrix.CodeMissingParam},
			{"displayname", `{"avatar_url":"mxc://a/b"}`, 400, matrix.CodeMissingParam},
			{"displayname", `[]`, 400, matrix.CodeBadJSON},
			{"displayname", `{"displayname"`, 400, matrix.CodeNotJSON},
			{"displayname", `{"displayname":"` + strings.Repeat("ä", 257) + `"}`, 400, matrix.CodeInvalidParam},
			{"avatar_url", `{"avatar_url":["mxc://a/b"]}`, 400, matrix.CodeBadJSON},
			{"m.tz", `{"m.tz":{}}`, 400, matrix.CodeBadJSON},
			{"Upper.case", `{"Upper.case":1}`, 400, matrix.CodeInvalidParam},
			{"plain", `{"plain":1}`, 400, matrix.CodeInvalidParam},
			{"a." + strings.Repeat("x", 254), `{}`, 400, matrix.CodeKeyTooLarge},
			{"a.b", `{"a.b":"` + strings.Repeat("x", 64<<10) + `"}`, 400, matrix.CodeProfileTooLarge},
		} {
			w.refused(c.status, c.code, alice, "PUT", of+"/"+c.field, c.body)
		}
		for i := range 6 { // each fits, but not all of them
			a := w.do(alice, "PUT", of+fmt.Sprintf("/a.f%d", i), object{fmt.Sprintf("a.f%d", i): strings.Repeat("x", 12<<10)})
			if want := map[bool]int{true: 200, false: 400}[i < 5]; a.status != want {
				t.Errorf("field %d: %d %s", i, a.status, a)
			}
		}
		w.refused(403, matrix.CodeForbidden, bob, "PUT", of+"/displayname", object{"displayname": "Mallory"})
		w.refused(403, matrix.CodeForbidden, bob, "DELETE", of+"/m.tz", nil)
		w.refused(401, matrix.CodeMissingToken, "", "PUT", of+"/displayname", object{"displayname": "x"})
		w.refused(404, matrix.CodeNotFound, "", "GET", "/profile/@nobody:example.org", nil)
		w.refused(400, matrix.CodeInvalidParam, "", "GET", "/profile/nobody", nil)

		p, err := w.accounts.Profiles(t.Context(), []matrix.UserID{"@alice:example.org", "@bob:example.org"})
		if err != nil || len(p) != 1 {
			t.Errorf("%v, %v", p, err)
		}
	})
}

func TestAccountData(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice, bob := token(w.user("alice")), token(w.user("bob"))
		sub := w.bus.Subscribe(bus.User)
		defer sub.Close()
		const of = "/user/@alice:example.org"
		const room = "/rooms/!room:example.org"
		w.ok(alice, "PUT", of+"/account_data/org.example.x", `{"a": 1.5}`)
		w.ok(alice, "PUT", of+room+"/account_data/org.example.x", `{"b":2}`)
		if c := <-sub.C; c.Key != "@alice:example.org" || c.Pos == 0 {
			t.Errorf("announced %+v", c)
		}
		if a := w.ok(alice, "GET", of+"/account_data/org.example.x", nil); a.String() != `{"a":1.5}` {
			t.Errorf("%s", a)
		}
		if a := w.ok(alice, "GET", of+room+"/account_data/org.example.x", nil); a.String() != `{"b":2}` {
			t.Errorf("%s", a)
		}
		w.ok(alice, "PUT", of+"/account_data/org.example.x", `{"c":3}`)
		since := func(since, upto int64) (types []string, last int64) {
			t.Helper()
			err := w.db.View(t.Context(), func(tx *store.Tx) error {
				all, err := account.AccountDataSince(tx, "@alice:example.org", since, upto)
				for _, d := range all {
					types, last = append(types, string(d.Room)+d.Type+string(d.Content)), d.Pos
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return types, last
		}
		all, last := since(0, 1<<40)
		if !slices.Equal(all, []string{`!room:example.orgorg.example.x{"b":2}`, `org.example.x{"c":3}`}) {
			t.Errorf("account data %q", all)
		}
		if some, _ := since(last, 1<<40); len(some) != 0 {
			t.Errorf("after the last: %q", some)
		}
		if some, _ := since(0, last-1); len(some) != 1 {
			t.Errorf("up to before the last: %q", some)
		}
		w.ok(alice, "DELETE", "/_matrix/client/unstable/org.matrix.msc3391"+of+"/account_data/org.example.x", nil)
		if told, _ := since(last, 1<<40); !slices.Equal(told, []string{"org.example.x{}"}) {
			t.Errorf("of the deletion is told %q", told)
		}
		if first, _ := since(0, 1<<40); len(first) != 1 {
			t.Errorf("a first sync tells of what was deleted: %q", first)
		}
		w.refused(404, matrix.CodeNotFound, alice, "GET", of+"/account_data/org.example.x", nil)

		w.refused(404, matrix.CodeNotFound, alice, "GET", of+"/account_data/org.example.none", nil)
		w.refused(403, matrix.CodeForbidden, bob, "GET", of+"/account_data/org.example.x", nil)
		w.refused(403, matrix.CodeForbidden, bob, "PUT", of+"/account_data/org.example.x", `{}`)
		w.refused(403, matrix.CodeForbidden, bob, "PUT", of+room+"/account_data/org.example.x", `{}`)
		w.refused(405, matrix.CodeBadJSON, alice, "PUT", of+"/account_data/m.push_rules", `{}`)
		w.refused(405, matrix.CodeBadJSON, alice, "PUT", of+room+"/account_data/m.fully_read", `{}`)
		w.refused(400, matrix.CodeBadJSON, alice, "PUT", of+"/account_data/x.y", `[]`)
		w.refused(400, matrix.CodeNotJSON, alice, "PUT", of+"/account_data/x.y", ``)
		w.refused(400, matrix.CodeNotJSON, alice, "PUT", of+"/account_data/x.y", `{`)
		w.refused(400, matrix.CodeInvalidParam, alice, "PUT", of+"/rooms/room/account_data/x.y", `{}`)
		w.refused(400, matrix.CodeInvalidParam, alice, "GET", of+"/rooms/room/account_data/x.y", nil)
		w.refused(400, matrix.CodeInvalidParam, alice, "PUT", of+"/account_data/"+strings.Repeat("x", 256), `{}`)
		w.refused(413, matrix.CodeTooLarge, alice, "PUT", of+"/account_data/x.y", object{"x": strings.Repeat("x", 600<<10)})
	})
}

func TestTags(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice, bob := token(w.user("alice")), token(w.user("bob"))
		const of = "/user/@alice:example.org/rooms/!room:example.org/tags"
		if a := w.ok(alice, "GET", of, nil); a.String() != `{"tags":{}}` {
			t.Errorf("%s", a)
		}
		w.ok(alice, "PUT", of+"/m.favourite", `{"order":0.25}`)
		w.ok(alice, "PUT", of+"/u.a%2Fb", `{"x":1}`)
		w.ok(alice, "PUT", of+"/u.gone", `{}`)
		w.ok(alice, "DELETE", of+"/u.gone", nil)
		w.ok(alice, "DELETE", of+"/u.gone", nil)
		const want = `{"tags":{"m.favourite":{"order":0.25},"u.a/b":{"x":1}}}`
		if a := w.ok(alice, "GET", of, nil); a.String() != want {
			t.Errorf("%s", a)
		}
		if a := w.ok(alice, "GET", "/user/@alice:example.org/rooms/!room:example.org/account_data/m.tag", nil); a.String() != want {
			t.Errorf("%s", a)
		}
		w.ok(alice, "PUT", "/user/@alice:example.org/rooms/!odd:example.org/account_data/m.tag", `{"tags":"none"}`)
		if a := w.ok(alice, "GET", "/user/@alice:example.org/rooms/!odd:example.org/tags", nil); a.String() != `{"tags":{}}` {
			t.Errorf("%s", a)
		}
		w.refused(403, matrix.CodeForbidden, bob, "GET", of, nil)
		w.refused(403, matrix.CodeForbidden, bob, "PUT", of+"/x", `{}`)
		w.refused(403, matrix.CodeForbidden, bob, "DELETE", of+"/x", nil)
		w.refused(400, matrix.CodeBadJSON, alice, "PUT", of+"/x", `{"order":"first"}`)
		w.refused(400, matrix.CodeInvalidParam, alice, "PUT", of+"/x", `{"order":1.5}`)
		w.refused(400, matrix.CodeBadJSON, alice, "PUT", of+"/x", `7`)
		w.refused(400, matrix.CodeInvalidParam, alice, "PUT", of+"/"+strings.Repeat("x", 256), `{}`)
		w.refused(400, matrix.CodeInvalidParam, alice, "GET", "/user/@alice:example.org/rooms/room/tags", nil)
	})
}

func TestFilter(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice, bob := token(w.user("alice")), token(w.user("bob"))
		const of = "/user/@alice:example.org/filter"
		const filter = `{"event_fields":["type"],"org.example.more":1,"room":{"timeline":{"limit":10,"not_senders":["@spam:example.org"]}}}`
		id := w.ok(alice, "POST", of, filter).At("filter_id").Text()
		if a := w.ok(alice, "GET", of+"/"+id, nil); a.String() != filter {
			t.Errorf("%s", a)
		}
		if again := w.ok(alice, "POST", of, filter).At("filter_id").Text(); again != id || strings.HasPrefix(id, "{") {
			t.Errorf("ids %q and %q", id, again)
		}
		w.refused(404, matrix.CodeNotFound, alice, "GET", of+"/none", nil)
		w.refused(403, matrix.CodeForbidden, bob, "GET", of+"/"+id, nil)
		w.refused(403, matrix.CodeForbidden, bob, "POST", of, filter)
		for body, code := range map[string]matrix.Code{
			`[]`:                                      matrix.CodeBadJSON,
			`{`:                                       matrix.CodeNotJSON,
			`{"room":[]}`:                             matrix.CodeBadJSON,
			`{"room":{"timeline":{"limit":"ten"}}}`:   matrix.CodeBadJSON,
			`{"room":{"timeline":{"limit":-1}}}`:      matrix.CodeInvalidParam,
			`{"room":{"rooms":["room"]}}`:             matrix.CodeInvalidParam,
			`{"room":{"state":{"senders":["x"]}}}`:    matrix.CodeInvalidParam,
			`{"presence":{"not_senders":["x"]}}`:      matrix.CodeInvalidParam,
			`{"event_format":"xml"}`:                  matrix.CodeInvalidParam,
			`{"room":{"state":{"types":[1]}}}`:        matrix.CodeBadJSON,
			`{"event_fields":"all"}`:                  matrix.CodeBadJSON,
			`{"room":{"state":{"contains_url":"x"}}}`: matrix.CodeBadJSON,
		} {
			w.refused(400, code, alice, "POST", of, body)
		}
	})
}

func TestCapabilities(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice := token(w.user("alice"))
		c := w.ok(alice, "GET", "/capabilities", nil).At("capabilities")
		if !c.At("m.change_password", "enabled").Bool() || c.At("m.room_versions", "default").Text() != "12" ||
			c.At("m.room_versions", "available", "1").Text() != "stable" || c.At("m.3pid_changes", "enabled").Bool() ||
			!c.At("m.profile_fields", "enabled").Bool() {
			t.Errorf("%s", c)
		}
		v := w.ok("", "GET", "/_matrix/client/versions", nil)
		if !v.At("unstable_features", "uk.tcpip.msc4133").Bool() || v.At("versions", -1).Text() != "v1.19" {
			t.Errorf("%s", v)
		}
		wk := w.ok("", "GET", "/.well-known/matrix/client", nil)
		if wk.At("m.homeserver", "base_url").Text() != "https://matrix.example.org" {
			t.Errorf("%s", wk)
		}
	})
}
