package clientapi_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/testkit"
)

func TestLogin(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		first := w.user("alice", object{"device_id": "PHONE", "initial_device_display_name": "Phone"})
		if got := first.At("user_id").Text(); got != "@alice:example.org" {
			t.Fatalf("registered as %s", got)
		}
		if first.At("refresh_token").There() || first.At("expires_in_ms").There() {
			t.Errorf("a client that cannot refresh got a token that ends: %s", first)
		}
		who := w.ok(token(first), "GET", "/account/whoami", nil)
		if who.At("user_id").Text() != "@alice:example.org" || who.At("device_id").Text() != "PHONE" {
			t.Errorf("whoami: %s", who)
		}
		for _, name := range []string{"alice", "@alice:example.org", "Alice"} {
			if got := w.login(name).At("user_id").Text(); got != "@alice:example.org" {
				t.Errorf("logged in as %s with the name %s", got, name)
			}
		}
		w.ok("", "POST", "/login", object{"type": "m.login.password", "user": "alice", "password": password})
		w.ok("", "POST", "/_matrix/client/r0/login", object{"type": "m.login.password", "user": "alice", "password": password})
		if got := w.ok("", "GET", "/login", nil).At("flows").Texts("type"); !slices.Equal(got, []string{"m.login.password", "m.login.application_service"}) {
			t.Errorf("flows %v", got)
		}

		again := w.login("alice", object{"device_id": "PHONE", "initial_device_display_name": "ignored"})
		w.refused(401, matrix.CodeUnknownToken, token(first), "GET", "/account/whoami", nil)
		if d := w.ok(token(again), "GET", "/devices/PHONE", nil); d.At("display_name").Text() != "Phone" {
			t.Errorf("a log-in with a known device renamed it: %s", d)
		}
		w.ok(token(again), "POST", "/logout", nil)
		w.refused(401, matrix.CodeUnknownToken, token(again), "GET", "/account/whoami", nil)

		other := w.login("alice")
		w.ok(token(other), "POST", "/logout/all", object{})
		w.refused(401, matrix.CodeUnknownToken, token(other), "GET", "/account/whoami", nil)
		if n := len(w.ok(token(w.login("alice")), "GET", "/devices", nil).At("devices").List()); n != 1 {
			t.Errorf("%d devices after logout/all and one log-in", n)
		}
	})
}

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice := w.user("alice")
		id := object{"type": "m.id.user", "user": "alice"}
		for name, c := range map[string]struct {
			body   any
			status int
			code   matrix.Code
		}{
			"no body":                {nil, 400, matrix.CodeMissingParam},
			"not JSON":               {"{", 400, matrix.CodeNotJSON},
			"an array":               {"[]", 400, matrix.CodeBadJSON},
			"no type":                {object{"identifier": id, "password": password}, 400, matrix.CodeMissingParam},
			"type is a number":       {object{"type": 1}, 400, matrix.CodeBadJSON},
			"unknown type":           {object{"type": "m.login.magic"}, 400, matrix.CodeUnknown},
			"no identifier":          {object{"type": "m.login.password", "password": password}, 400, matrix.CodeMissingParam},
			"identifier is text":     {object{"type": "m.login.password", "identifier": "alice", "password": password}, 400, matrix.CodeBadJSON},
			"identifier has no type": {object{"type": "m.login.password", "identifier": object{"user": "alice"}, "password": password}, 400, matrix.CodeMissingParam},
			"identifier of no kind":  {object{"type": "m.login.password", "identifier": object{"type": "x"}, "password": password}, 400, matrix.CodeInvalidParam},
			"identifier user number": {object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": 1}, "password": password}, 400, matrix.CodeBadJSON},
			"by e-mail":              {object{"type": "m.login.password", "identifier": object{"type": "m.id.thirdparty", "medium": "email", "address": "a@b.c"}, "password": password}, 403, matrix.CodeForbidden},
			"no password":            {object{"type": "m.login.password", "identifier": id}, 400, matrix.CodeMissingParam},
			"password is a list":     {object{"type": "m.login.password", "identifier": id, "password": []string{}}, 400, matrix.CodeBadJSON},
			"endless password":       {object{"type": "m.login.password", "identifier": id, "password": strings.Repeat("x", 10_000)}, 403, matrix.CodeForbidden},
			"nobody":                 {object{"type": "m.login.password", "user": "nobody", "password": password}, 403, matrix.CodeForbidden},
			"of another server":      {object{"type": "m.login.password", "user": "@alice:elsewhere.org", "password": password}, 403, matrix.CodeForbidden},
			"no name at all":         {object{"type": "m.login.password", "user": "a b\x01:", "password": password}, 403, matrix.CodeForbidden},
			"device id is a number":  {object{"type": "m.login.password", "user": "alice", "password": password, "device_id": 5}, 400, matrix.CodeBadJSON},
			"device id too long":     {object{"type": "m.login.password", "user": "alice", "password": password, "device_id": strings.Repeat("d", 256)}, 400, matrix.CodeInvalidParam},
			"device name too long":   {object{"type": "m.login.password", "user": "alice", "password": password, "initial_device_display_name": strings.Repeat("d", 256)}, 400, matrix.CodeInvalidParam},
		} {
			t.Run(name, func(t *testing.T) {
				if a := doOn(t, w.router, "", "POST", "/login", c.body); a.status != c.status || a.At("errcode").Text() != string(c.code) {
					t.Errorf("status %d, %s; want %d %s", a.status, a, c.status, c.code)
				}
			})
		}
		w.refused(401, matrix.CodeMissingToken, "", "GET", "/account/whoami", nil)
		for _, bad := range []string{"x", "astro_a_", token(alice)[:20], token(alice) + "A", strings.Replace(token(alice), "astro_a_", "astro_r_", 1)} {
			w.refused(401, matrix.CodeUnknownToken, bad, "GET", "/account/whoami", nil)
		}
	})
}

func TestWrongPasswordsAreLimited(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		w.user("alice")
		w.user("bob")
		wrong := object{"type": "m.login.password", "user": "alice", "password": "not that"}
		for range 3 {
			w.refused(403, matrix.CodeForbidden, "", "POST", "/login", wrong)
		}
		a := w.refused(429, matrix.CodeLimitExceeded, "", "POST", "/login", wrong)
		if ms := a.At("retry_after_ms").Int(); ms <= 0 || ms > 10_000 {
			t.Errorf("retry_after_ms %d", ms)
		}
		right := object{"type": "m.login.password", "user": "alice", "password": password}
		w.refused(429, matrix.CodeLimitExceeded, "", "POST", "/login", right)
		w.login("bob")
		w.pass(11 * time.Second)
		w.ok("", "POST", "/login", right)
	})
}

func TestRefresh(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		w.user("alice")
		refresh := func(s answer) answer {
			t.Helper()
			return w.ok("", "POST", "/refresh", object{"refresh_token": s.At("refresh_token").Text()})
		}
		works := func(s answer) { t.Helper(); w.ok(token(s), "GET", "/account/whoami", nil) }
		expired := func(s answer) {
			t.Helper()
			a := w.refused(401, matrix.CodeUnknownToken, token(s), "GET", "/account/whoami", nil)
			if !a.At("soft_logout").Bool() {
				t.Errorf("no soft_logout: %s", a)
			}
		}
		first := w.login("alice", object{"refresh_token": true})
		if first.At("expires_in_ms").Int() != time.Hour.Milliseconds() {
			t.Fatalf("session %s", first)
		}
		works(first)
		w.pass(time.Hour)
		expired(first)

		lost := refresh(first) // its answer never arrives
		second := refresh(first)
		if second.At("user_id").There() || second.At("device_id").There() {
			t.Errorf("the answer to a refresh names the session: %s", second)
		}
		works(second)
		w.refused(401, matrix.CodeUnknownToken, token(lost), "GET", "/account/whoami", nil)
		for _, s := range []answer{first, lost} {
			w.refused(401, matrix.CodeUnknownToken, "", "POST", "/refresh", object{"refresh_token": s.At("refresh_token").Text()})
		}

		third := refresh(second)
		works(second) // nothing of the new pair was used yet
		fourth := refresh(third)
		expired(second) // requests that are under way are not told that the session is gone
		w.refused(401, matrix.CodeUnknownToken, "", "POST", "/refresh", object{"refresh_token": second.At("refresh_token").Text()})
		works(third)
		works(fourth)
		expired(third)

		for range 20 {
			refresh(fourth)
		}
		works(refresh(fourth))
		if n := len(w.ok(token(w.login("alice")), "GET", "/devices", nil).At("devices").List()); n != 3 {
			t.Errorf("%d devices", n)
		}
		w.refused(400, matrix.CodeMissingParam, "", "POST", "/refresh", object{})
		w.refused(400, matrix.CodeBadJSON, "", "POST", "/refresh", object{"refresh_token": 1})
		w.refused(401, matrix.CodeUnknownToken, "", "POST", "/refresh", object{"refresh_token": token(fourth)})
	})
}

func TestRevocationReachesOtherNodes(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		_, other := w.node()
		alice := w.user("alice")
		if a := doOn(t, other, token(alice), "GET", "/account/whoami", nil); a.status != 200 {
			t.Fatalf("%s", a)
		}
		w.ok(token(alice), "POST", "/logout", nil)
		deadline := time.Now().Add(30 * time.Second)
		for doOn(t, other, token(alice), "GET", "/account/whoami", nil).status != 401 {
			if time.Now().After(deadline) {
				t.Fatal("the other node still takes the token")
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func TestLockedAndSuspended(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice := w.user("alice")
		set := func(f account.Flag, on bool) {
			t.Helper()
			if err := w.accounts.SetFlag(t.Context(), "@alice:example.org", f, on); err != nil {
				t.Fatal(err)
			}
		}
		w.ok(token(alice), "GET", "/account/whoami", nil)
		set(account.Locked, true)
		a := w.refused(401, matrix.CodeUserLocked, token(alice), "GET", "/account/whoami", nil)
		if !a.At("soft_logout").Bool() {
			t.Errorf("no soft_logout: %s", a)
		}
		set(account.Locked, false)
		set(account.Suspended, true)
		w.ok(token(alice), "GET", "/account/whoami", nil)
		w.refused(403, matrix.CodeUserSuspended, token(alice), "PUT", "/profile/@alice:example.org/displayname", object{"displayname": "A"})
		set(account.Locked, true)
		w.ok(token(alice), "POST", "/logout", nil)
		if err := w.accounts.SetFlag(t.Context(), "@nobody:example.org", account.Locked, true); err == nil {
			t.Error("a flag was set on nobody")
		}
	})
}
