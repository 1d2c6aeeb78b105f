package clientapi_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

func TestDevices(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		var gone []matrix.DeviceID
		w := newWorld(t, dsn, func(o *account.Options) {
			o.DevicesGone = append(o.DevicesGone, func(_ *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
				gone = append(gone, devices...)
				return nil
			})
		})
		phone := w.user("alice", object{"device_id": "PHONE"})
		laptop := w.login("alice", object{"device_id": "LAPTOP", "initial_device_display_name": "Laptop"})
		tablet := w.login("alice", object{"device_id": "TABLET"})
		bob := w.user("bob", object{"device_id": "PHONE"})

		list := w.ok(token(phone), "GET", "/devices", nil).At("devices")
		if got := list.Texts("device_id"); !slices.Equal(got, []string{"LAPTOP", "PHONE", "TABLET"}) {
			t.Errorf("devices %v", got)
		}
		w.ok(token(phone), "PUT", "/devices/TABLET", object{"display_name": "Tablet"})
		w.ok(token(phone), "PUT", "/devices/TABLET", object{})
		if d := w.ok(token(tablet), "GET", "/devices/TABLET", nil); d.At("display_name").Text() != "Tablet" {
			t.Errorf("renamed to %s", d)
		}
		w.refused(404, matrix.CodeNotFound, token(phone), "GET", "/devices/NONE", nil)
		w.refused(404, matrix.CodeNotFound, token(phone), "PUT", "/devices/NONE", object{"display_name": "x"})
		w.refused(404, matrix.CodeNotFound, token(bob), "GET", "/devices/LAPTOP", nil)
		w.refused(400, matrix.CodeBadJSON, token(phone), "PUT", "/devices/PHONE", object{"display_name": 1})
		w.refused(400, matrix.CodeInvalidParam, token(phone), "PUT", "/devices/PHONE", object{"display_name": strings.Repeat("x", 256)})

		proof := func(session, name string) object {
			return object{"type": "m.login.password", "session": session, "password": password,
				"identifier": object{"type": "m.id.user", "user": name}}
		}
		ask := w.do(token(phone), "DELETE", "/devices/LAPTOP", nil)
		if ask.status != 401 || ask.Has("errcode") {
			t.Fatalf("%d %s", ask.status, ask)
		}
		session := ask.At("session").Text()
		w.refused(403, matrix.CodeForbidden, token(phone), "DELETE", "/devices/TABLET", object{"auth": proof(session, "alice")})
		w.refused(403, matrix.CodeForbidden, token(bob), "DELETE", "/devices/LAPTOP", object{"auth": proof(session, "bob")})
		w.refused(403, matrix.CodeForbidden, token(phone), "DELETE", "/devices/LAPTOP", object{"auth": proof(session, "bob")})
		w.ok(token(laptop), "GET", "/account/whoami", nil)
		w.ok(token(phone), "DELETE", "/devices/LAPTOP", object{"auth": proof(session, "alice")})
		w.refused(401, matrix.CodeUnknownToken, token(laptop), "GET", "/account/whoami", nil)
		w.ok(token(phone), "DELETE", "/devices/LAPTOP", object{"auth": proof(session, "alice")}) // the answer was lost

		ask = w.do(token(phone), "POST", "/delete_devices", object{"devices": []string{"TABLET"}})
		w.ok(token(phone), "POST", "/delete_devices", object{"devices": []string{"TABLET", "NONE"}, "auth": proof(ask.At("session").Text(), "@alice:example.org")})
		w.refused(401, matrix.CodeUnknownToken, token(tablet), "GET", "/account/whoami", nil)
		w.ok(token(bob), "GET", "/devices/PHONE", nil)
		w.refused(400, matrix.CodeMissingParam, token(phone), "POST", "/delete_devices", object{})
		w.refused(400, matrix.CodeBadJSON, token(phone), "POST", "/delete_devices", object{"devices": "PHONE"})
		if !slices.Contains(gone, "LAPTOP") || !slices.Contains(gone, "TABLET") || slices.Contains(gone, "PHONE") {
			t.Errorf("gone are %v", gone)
		}
	})
}

func TestUIASession(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice := w.user("alice")
		o := account.Operation{
			Endpoint: "POST /x", User: "@alice:example.org", Body: "this",
			Flows: [][]string{{account.StagePassword, account.StageDummy}},
		}
		confirm := func(o account.Operation, auth string) (*account.Confirmed, *matrix.Error) {
			t.Helper()
			o.Auth = []byte(auth)
			c, err := w.accounts.Confirm(t.Context(), o)
			if err == nil {
				return c, nil
			}
			e, ok := err.(*matrix.Error)
			if !ok {
				t.Fatal(err)
			}
			return c, e
		}
		session := func(e *matrix.Error) string {
			if e == nil || e.Status != 401 {
				t.Fatalf("no challenge, but %v", e)
			}
			return e.Fields["session"].(string)
		}
		_, e := confirm(o, `null`)
		id := session(e)
		passwordStage := `{"type":"m.login.password","user":"alice","password":"` + password + `","session":"` + id + `"}`
		_, e = confirm(o, passwordStage)
		if session(e) != id || !slices.Equal(e.Fields["completed"].([]string), []string{"m.login.password"}) || e.Code != "" {
			t.Fatalf("after the first stage: %+v", e)
		}
		other := o
		other.Body = "that"
		if _, e := confirm(other, `{"type":"m.login.dummy","session":"`+id+`"}`); e == nil || e.Code != matrix.CodeForbidden || e.Status != 0 {
			t.Errorf("another body: %+v", e)
		}
		node, _ := w.node() // it knows only what is stored
		o.Auth = []byte(`{"type":"m.login.dummy","session":"` + id + `"}`)
		c, err := node.Confirm(t.Context(), o)
		if err != nil || c.User != "@alice:example.org" {
			t.Fatalf("%+v, %v", c, err)
		}
		if _, e := confirm(o, `{"type":"m.login.dummy","session":"`+id+`"}`); session(e) == id || len(e.Fields["completed"].([]string)) != 1 {
			t.Errorf("a session was good twice: %+v", e)
		}

		_, e = confirm(o, `null`)
		id = session(e)
		confirm(o, `{"type":"m.login.password","password":"`+password+`","session":"`+id+`"}`)
		w.pass(time.Hour)
		if _, e = confirm(o, `{"type":"m.login.dummy","session":"`+id+`"}`); session(e) == id {
			t.Error("an old session was good")
		}
		_ = alice
	})
}

func TestPasswordChange(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		phone := w.user("alice", object{"device_id": "PHONE"})
		laptop := w.login("alice")
		auth := func(p string) object { return object{"type": "m.login.password", "user": "alice", "password": p} }
		change := func(old, fresh string) object { return object{"new_password": fresh, "auth": auth(old)} }

		w.refused(400, matrix.CodeMissingParam, token(phone), "POST", "/account/password", object{"auth": auth(password)})
		w.refused(400, matrix.CodeBadJSON, token(phone), "POST", "/account/password", object{"new_password": 1})
		w.refused(400, matrix.CodeBadJSON, token(phone), "POST", "/account/password", object{"new_password": "battery staple", "logout_devices": "no"})
		w.refused(400, matrix.CodeWeakPassword, token(phone), "POST", "/account/password", change(password, "short"))
		w.refused(401, matrix.CodeForbidden, token(phone), "POST", "/account/password", change("not mine", "battery staple"))

		keep := change(password, "battery staple")
		keep["logout_devices"] = false
		w.ok(token(phone), "POST", "/account/password", keep)
		w.ok(token(laptop), "GET", "/account/whoami", nil)
		w.ok(token(phone), "POST", "/account/password", change("battery staple", "staple battery"))
		w.ok(token(phone), "GET", "/account/whoami", nil)
		w.refused(401, matrix.CodeUnknownToken, token(laptop), "GET", "/account/whoami", nil)
		w.refused(403, matrix.CodeForbidden, "", "POST", "/login", object{"type": "m.login.password", "user": "alice", "password": password})
		w.ok("", "POST", "/account/password", change("staple battery", password)) // without a token
		w.refused(401, matrix.CodeUnknownToken, token(phone), "GET", "/account/whoami", nil)
		w.login("alice")
	})
}

func TestDeactivate(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice := w.user("alice")
		w.ok(token(alice), "PUT", "/profile/@alice:example.org/displayname", object{"displayname": "Alice"})
		w.refused(400, matrix.CodeBadJSON, token(alice), "POST", "/account/deactivate", object{"erase": "please"})
		ask := w.do(token(alice), "POST", "/account/deactivate", object{})
		if ask.status != 401 {
			t.Fatalf("%d %s", ask.status, ask)
		}
		a := w.ok(token(alice), "POST", "/account/deactivate", object{"erase": true, "auth": object{
			"type": "m.login.password", "session": ask.At("session").Text(), "password": password,
			"identifier": object{"type": "m.id.user", "user": "alice"}}})
		if a.At("id_server_unbind_result").Text() != "success" {
			t.Errorf("%s", a)
		}
		w.refused(401, matrix.CodeUnknownToken, token(alice), "GET", "/account/whoami", nil)
		w.refused(403, matrix.CodeForbidden, "", "POST", "/login", object{"type": "m.login.password", "user": "alice", "password": password})
		w.refused(404, matrix.CodeNotFound, "", "GET", "/profile/@alice:example.org", nil)
		w.refused(400, matrix.CodeUserInUse, "", "POST", "/register", object{"username": "alice", "password": password, "auth": object{"type": "m.login.dummy"}})
		u, _, err := w.accounts.User(t.Context(), "@alice:example.org")
		if err != nil || u.Deactivated == 0 || !u.Erased {
			t.Errorf("%+v, %v", u, err)
		}
	})
}
