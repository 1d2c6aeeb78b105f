package clientapi_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
)

func TestRegister(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		ask := w.do("", "POST", "/register", object{})
		if ask.status != 401 || ask.Has("errcode") || ask.At("session").Text() == "" ||
			ask.At("flows", 0, "stages", 0).Text() != "m.login.dummy" || !ask.Has("params") {
			t.Fatalf("challenge: %d %s", ask.status, ask)
		}
		session := ask.At("session").Text()
		body := object{"username": "alice", "password": password, "auth": object{"type": "m.login.dummy", "session": session}}
		alice := w.ok("", "POST", "/register", body)
		w.ok(token(alice), "GET", "/account/whoami", nil)
		w.refused(400, matrix.CodeUserInUse, "", "POST", "/register", body)

		quiet := w.user("bob", object{"inhibit_login": true})
		if quiet.Has("access_token") || quiet.Has("device_id") {
			t.Errorf("inhibit_login gave a session: %s", quiet)
		}
		w.login("bob")
		nameless := w.ok("", "POST", "/register", object{"password": password, "auth": object{"type": "m.login.dummy"}, "refresh_token": true})
		if id := nameless.At("user_id").Text(); !strings.HasSuffix(id, ":example.org") || !nameless.At("refresh_token").There() {
			t.Errorf("without a name: %s", nameless)
		}
		if !w.ok("", "GET", "/register/available?username=carol", nil).At("available").Bool() {
			t.Error("carol is not available")
		}
		w.refused(400, matrix.CodeUserInUse, "", "GET", "/register/available?username=alice", nil)
		w.refused(400, matrix.CodeMissingParam, "", "GET", "/register/available", nil)
	})
}

// TestCapitalsAreLowered registers a name as people type it: the user ID has it in small letters.
func TestCapitalsAreLowered(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		got := w.ok("", "POST", "/register", object{"username": "CaPs", "password": "long enough", "auth": object{"type": "m.login.dummy"}})
		if id := got.At("user_id").Text(); id != "@caps:example.org" {
			t.Errorf("CaPs is %s", id)
		}
	})
}

func TestRegisterRefusals(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		w.user("taken")
		dummy := object{"type": "m.login.dummy"}
		for name, c := range map[string]struct {
			body   any
			status int
			code   matrix.Code
		}{
			"taken":                 {object{"username": "taken", "password": password, "auth": dummy}, 400, matrix.CodeUserInUse},
			"taken, before auth":    {object{"username": "taken", "password": password}, 400, matrix.CodeUserInUse},
			"full id":               {object{"username": "@alice:example.org", "password": password, "auth": dummy}, 400, matrix.CodeInvalidUsername},
			"endless name":          {object{"username": strings.Repeat("a", 250), "password": password, "auth": dummy}, 400, matrix.CodeInvalidUsername},
			"name is a number":      {object{"username": 7, "password": password, "auth": dummy}, 400, matrix.CodeBadJSON},
			"no password":           {object{"username": "alice", "auth": dummy}, 400, matrix.CodeMissingParam},
			"weak password":         {object{"username": "alice", "password": "short", "auth": dummy}, 400, matrix.CodeWeakPassword},
			"endless password":      {object{"username": "alice", "password": strings.Repeat("p", 600), "auth": dummy}, 400, matrix.CodeInvalidParam},
			"password is an object": {object{"username": "alice", "password": object{}, "auth": dummy}, 400, matrix.CodeBadJSON},
			"auth is text":          {object{"username": "alice", "password": password, "auth": "yes"}, 400, matrix.CodeBadJSON},
			"auth type is a list":   {object{"username": "alice", "password": password, "auth": object{"type": []int{}}}, 400, matrix.CodeBadJSON},
			"endless session":       {object{"username": "alice", "password": password, "auth": object{"type": "m.login.dummy", "session": strings.Repeat("s", 300)}}, 400, matrix.CodeInvalidParam},
			"unknown stage":         {object{"username": "alice", "password": password, "auth": object{"type": "m.login.magic"}}, 401, matrix.CodeUnrecognized},
			"stage not offered":     {object{"username": "alice", "password": password, "auth": object{"type": "m.login.password"}}, 401, matrix.CodeUnrecognized},
			"inhibit_login is text": {object{"username": "alice", "password": password, "auth": dummy, "inhibit_login": "yes"}, 400, matrix.CodeBadJSON},
			"device id too long":    {object{"username": "alice", "password": password, "auth": dummy, "device_id": strings.Repeat("d", 256)}, 400, matrix.CodeInvalidParam},
		} {
			t.Run(name, func(t *testing.T) {
				if a := doOn(t, w.router, "", "POST", "/register", c.body); a.status != c.status || a.At("errcode").Text() != string(c.code) {
					t.Errorf("status %d, %s; want %d %s", a.status, a, c.status, c.code)
				}
			})
		}
		w.refused(403, matrix.CodeGuestAccessForbidden, "", "POST", "/register?kind=guest", object{})
		w.refused(400, matrix.CodeInvalidParam, "", "POST", "/register?kind=cat", object{})
		w.accounts.SetRegistration(config.Registration{})
		w.refused(403, matrix.CodeForbidden, "", "POST", "/register", object{"username": "alice", "password": password, "auth": dummy})
		w.refused(403, matrix.CodeForbidden, "", "GET", "/_matrix/client/v1/register/m.login.registration_token/validity?token=x", nil)
	})
}

func TestRegistrationToken(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		w.accounts.SetRegistration(config.Registration{Enabled: true, TokenRequired: true})
		if _, err := w.accounts.CreateRegistrationToken(t.Context(), "once", 1, time.Time{}); err != nil {
			t.Fatal(err)
		}
		soon := time.UnixMilli(w.clock.Load()).Add(time.Minute)
		if _, err := w.accounts.CreateRegistrationToken(t.Context(), "soon", -1, soon); err != nil {
			t.Fatal(err)
		}
		if _, err := w.accounts.CreateRegistrationToken(t.Context(), "once", 1, time.Time{}); err == nil {
			t.Error("the same token was made twice")
		}
		valid := func(token string) bool {
			return w.ok("", "GET", "/_matrix/client/v1/register/m.login.registration_token/validity?token="+token, nil).At("valid").Bool()
		}
		if !valid("once") || !valid("soon") || valid("never") || valid("%20") {
			t.Error("validity is wrong")
		}
		with := func(name, token string) object {
			return object{"username": name, "password": password, "auth": object{"type": "m.login.registration_token", "token": token}}
		}
		w.refused(401, matrix.CodeForbidden, "", "POST", "/register", with("alice", "never"))
		w.refused(400, matrix.CodeMissingParam, "", "POST", "/register", with("alice", ""))
		w.refused(401, matrix.CodeUnrecognized, "", "POST", "/register", object{"username": "alice", "password": password, "auth": object{"type": "m.login.dummy"}})
		w.ok("", "POST", "/register", with("alice", "once"))
		w.refused(401, matrix.CodeForbidden, "", "POST", "/register", with("bob", "once"))
		w.ok("", "POST", "/register", with("bob", "soon"))
		w.pass(time.Minute)
		w.refused(401, matrix.CodeForbidden, "", "POST", "/register", with("carol", "soon"))
		if valid("once") || valid("soon") {
			t.Error("used tokens are valid")
		}
		tokens, err := w.accounts.ListRegistrationTokens(t.Context())
		if err != nil || len(tokens) != 2 || tokens[0].UsesDone != 1 || tokens[1].UsesDone != 1 {
			t.Errorf("tokens %+v, %v", tokens, err)
		}
	})
}

func TestRegisterBySharedSecret(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		const path = "/_synapse/admin/v1/register"
		sign := func(secret string, parts ...string) string {
			h := hmac.New(sha1.New, []byte(secret))
			h.Write([]byte(strings.Join(parts, "\x00")))
			return hex.EncodeToString(h.Sum(nil))
		}
		nonce := func() string { return w.ok("", "GET", path, nil).At("nonce").Text() }

		n := nonce()
		body := object{"nonce": n, "username": "root", "password": password, "admin": true, "displayname": "The Root",
			"mac": sign("open sesame", n, "root", password, "admin")}
		root := w.ok("", "POST", path, body)
		w.ok(token(root), "GET", "/account/whoami", nil)
		if u, found, err := w.accounts.User(t.Context(), "@root:example.org"); err != nil || !found || !u.Admin {
			t.Errorf("root: %+v, %t, %v", u, found, err)
		}
		if p := w.ok("", "GET", "/profile/@root:example.org", nil); p.At("displayname").Text() != "The Root" {
			t.Errorf("profile %s", p)
		}
		body["username"], body["mac"] = "again", sign("open sesame", n, "again", password, "admin")
		w.refused(400, matrix.CodeUnknown, "", "POST", path, body) // the nonce is spent

		n = nonce()
		for name, mac := range map[string]string{
			"another secret": sign("open simsim", n, "bob", password, "notadmin"),
			"another role":   sign("open sesame", n, "bob", password, "admin"),
			"no mac":         "zz",
		} {
			t.Log(name)
			w.refused(403, matrix.CodeForbidden, "", "POST", path, object{"nonce": n, "username": "bob", "password": password, "mac": mac})
		}
		bob := object{"nonce": n, "username": "bob", "password": password, "mac": sign("open sesame", n, "bob", password, "notadmin")}
		w.pass(2 * time.Minute)
		w.refused(400, matrix.CodeUnknown, "", "POST", path, bob)
		bob["nonce"] = "made up"
		w.refused(400, matrix.CodeUnknown, "", "POST", path, bob)
		w.refused(400, matrix.CodeMissingParam, "", "POST", path, object{"username": "bob"})
		w.accounts.SetRegistration(config.Registration{Enabled: true})
		w.refused(404, matrix.CodeUnrecognized, "", "GET", path, nil)
	})
}
