package test

import (
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestRegistrationTellsItsFlowAndGoesOn(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		someone := hs.Nobody()
		body := map[string]any{"username": "alice", "password": "a long password", "initial_device_display_name": "Phone"}
		ask := someone.Does("POST", "/register", body)
		if ask.Status != 401 || ask.At("session").Text() == "" || len(ask.At("flows").List()) == 0 {
			t.Fatalf("registration without auth: status %d: %s", ask.Status, ask)
		}
		dummy, found := ask.At("flows").Find(func(f story.JSON) bool { return f.At("stages").String() == `["m.login.dummy"]` })
		if !found {
			t.Fatalf("no flow of m.login.dummy alone: %s, found %s", ask, dummy)
		}
		body["auth"] = map[string]any{"type": "m.login.dummy", "session": ask.At("session").Text()}
		done := someone.Must("POST", "/register", body)
		if done.At("user_id").Text() != "@alice:localhost" || done.At("access_token").Text() == "" || done.At("device_id").Text() == "" {
			t.Fatalf("registration answered %s", done)
		}
		someone.Token = done.At("access_token").Text()
		who := someone.Reads("/account/whoami")
		if who.At("user_id").Text() != "@alice:localhost" || who.At("device_id").Text() != done.At("device_id").Text() || who.At("is_guest").Bool() {
			t.Errorf("whoami says %s after a registration that said %s", who, done)
		}
		device := someone.Reads(story.Path("devices", done.At("device_id").Text()))
		if device.At("display_name").Text() != "Phone" {
			t.Errorf("the device is %s, not named Phone", device)
		}
	})
}

func TestRegistrationRefusesBadNames(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		hs.User("alice")
		someone := hs.Nobody()
		register := func(name string) map[string]any {
			return map[string]any{"username": name, "password": "a long password", "auth": map[string]any{"type": "m.login.dummy"}}
		}
		someone.IsRefused(matrix.CodeUserInUse, 400, "POST", "/register", register("alice"))
		for _, bad := range []string{"al ice", "alice:b", "älice", "@alice", strings.Repeat("a", 300)} {
			someone.IsRefused(matrix.CodeInvalidUsername, 400, "POST", "/register", register(bad))
		}
		someone.IsRefused(matrix.CodeUserInUse, 400, "GET", "/register/available?username=alice", nil)
		someone.IsRefused(matrix.CodeInvalidUsername, 400, "GET", "/register/available?username=a%20b", nil)
		if free := someone.Reads("/register/available?username=bob"); !free.At("available").Bool() {
			t.Errorf("bob is not available: %s", free)
		}
		quiet := register("bob")
		quiet["inhibit_login"] = true
		if a := someone.Must("POST", "/register", quiet); a.Has("access_token") || a.Has("device_id") || a.At("user_id").Text() != "@bob:localhost" {
			t.Errorf("a registration that inhibits the login answered %s", a)
		}
	})
}

func TestLoginByPassword(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, someone := hs.User("alice"), hs.Nobody()
		flows := someone.Reads("/login").At("flows").Texts("type")
		if !strings.Contains(strings.Join(flows, " "), "m.login.password") {
			t.Errorf("the login flows are %v", flows)
		}
		login := func(user, password string) map[string]any {
			return map[string]any{
				"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": user}, "password": password,
			}
		}
		someone.IsRefused(matrix.CodeForbidden, 403, "POST", "/login", login("alice", "not her password"))
		someone.IsRefused(matrix.CodeForbidden, 403, "POST", "/login", login("nobody", alice.Password))
		someone.IsRefused(matrix.CodeForbidden, 403, "POST", "/login", login("@alice:example.org", alice.Password))
		for _, name := range []string{"alice", "@alice:localhost"} {
			if a := someone.Must("POST", "/login", login(name, alice.Password)); a.At("user_id").Text() != alice.ID {
				t.Errorf("login as %s answered %s", name, a)
			}
		}
		second := alice.LogsIn()
		if second.Device == alice.Device || second.Token == alice.Token {
			t.Errorf("two logins share a device or a token")
		}
		again := login("alice", alice.Password)
		again["device_id"] = second.Device
		third := someone.Must("POST", "/login", again)
		if third.At("device_id").Text() != second.Device {
			t.Errorf("login on device %s answered %s", second.Device, third)
		}
		second.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil) // its device was taken over
		alice.Reads("/account/whoami")
	})
}

func TestLogoutEndsTheSession(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		phone, tablet := alice.LogsIn(), alice.LogsIn()
		own := alice.Reads(story.Path("devices", alice.Device)) // clients hold both for given of the device they are on
		if own.At("last_seen_ip").Text() == "" || own.At("last_seen_ts").Int() == 0 {
			t.Errorf("the device in use is %s", own)
		}
		if n := len(alice.Reads("/devices").At("devices").List()); n != 3 {
			t.Errorf("alice has %d devices, want 3", n)
		}
		phone.Must("POST", "/logout", `{}`)
		phone.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/sync", nil)
		if n := len(alice.Reads("/devices").At("devices").List()); n != 2 {
			t.Errorf("alice has %d devices after a logout, want 2", n)
		}
		hs.Restart()
		phone.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/sync", nil)
		alice.Must("POST", "/logout/all", `{}`)
		alice.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil)
		tablet.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil)
		hs.Nobody().IsRefused(matrix.CodeMissingToken, 401, "GET", "/account/whoami", nil)
		alice.LogsIn().Reads("/account/whoami")
	})
}

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, client := hs.User("alice"), hs.Nobody()
		a := client.Must("POST", "/login", map[string]any{
			"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": "alice"}, "password": alice.Password,
			"refresh_token": true,
		})
		if a.At("refresh_token").Text() == "" || a.At("expires_in_ms").Int() <= 0 {
			t.Fatalf("a login that asked for a refresh token answered %s", a)
		}
		b := client.Must("POST", "/refresh", map[string]any{"refresh_token": a.At("refresh_token").Text()})
		if b.At("access_token").Text() == "" || b.At("access_token").Text() == a.At("access_token").Text() {
			t.Fatalf("a refresh answered %s", b)
		}
		client.Token = b.At("access_token").Text()
		if who := client.Reads("/account/whoami"); who.At("device_id").Text() != a.At("device_id").Text() {
			t.Errorf("the refreshed token is for %s, the login was for %s", who, a)
		}
		client.Token = a.At("access_token").Text()
		client.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil) // its successor was used
		client.Token = ""
		client.IsRefused(matrix.CodeUnknownToken, 401, "POST", "/refresh", map[string]any{"refresh_token": "made up"})
	})
}

func TestChangeOfPasswordAndDeactivation(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		other := alice.LogsIn()
		auth := func() map[string]any {
			return map[string]any{
				"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": "alice"}, "password": alice.Password,
			}
		}
		if a := alice.Does("POST", "/account/password", map[string]any{"new_password": "another long password"}); a.Status != 401 || !a.Has("flows") {
			t.Fatalf("a new password without the old one: status %d: %s", a.Status, a)
		}
		alice.Must("POST", "/account/password", map[string]any{"new_password": "another long password", "auth": auth()})
		alice.Password = "another long password"
		alice.Reads("/account/whoami")
		other.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil) // logout_devices is true by default
		alice.LogsIn()
		alice.Must("POST", "/account/deactivate", map[string]any{"auth": auth()})
		alice.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil)
		login := auth()
		a := hs.Nobody().Does("POST", "/login", login)
		if code := a.At("errcode").Text(); a.Status != 403 || code != "M_USER_DEACTIVATED" && code != "M_FORBIDDEN" {
			t.Errorf("a login of a deactivated account: status %d: %s", a.Status, a)
		}
		hs.Nobody().IsRefused(matrix.CodeUserInUse, 400, "GET", "/register/available?username=alice", nil)
	})
}
