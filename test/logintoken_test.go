package test

import (
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// getsLoginToken asks for a login token with the password, as the second step of an authentication.
func getsLoginToken(t *testing.T, u *story.User) string {
	t.Helper()
	const path = "/_matrix/client/v1/login/get_token"
	challenge := u.Does("POST", path, `{}`)
	if challenge.Status != 401 || challenge.At("flows", 0, "stages", 0).Text() != "m.login.password" {
		t.Fatalf("who wants a login token is asked %d %s", challenge.Status, challenge)
	}
	a := u.Must("POST", path, map[string]any{"auth": map[string]any{
		"type": "m.login.password", "session": challenge.At("session").Text(), "password": u.Password,
		"identifier": map[string]any{"type": "m.id.user", "user": u.Name},
	}})
	if a.At("expires_in_ms").Int() != 120_000 {
		t.Errorf("a login token is told as %s", a)
	}
	return a.At("login_token").Text()
}

func TestLoginTokenLetsAnotherDeviceIn(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		if !alice.Reads("/capabilities").At("capabilities", "m.get_login_token", "enabled").Bool() {
			t.Error("the capability is not told")
		}
		if _, found := hs.Nobody().Reads("/login").At("flows").Find(func(f story.JSON) bool {
			return f.At("type").Text() == "m.login.token" && f.At("get_login_token").Bool()
		}); !found {
			t.Error("the flow is not told")
		}
		token := getsLoginToken(t, alice)
		by := func(token string) map[string]any {
			return map[string]any{"type": "m.login.token", "token": token, "initial_device_display_name": "a television"}
		}
		if in := hs.Nobody().Must("POST", "/login", by(token)); in.At("user_id").Text() != alice.ID || in.At("device_id").Text() == alice.Device {
			t.Errorf("the token logs in %s", in)
		}
		hs.Nobody().IsRefused(matrix.CodeForbidden, 403, "POST", "/login", by(token))
		hs.Nobody().IsRefused(matrix.CodeForbidden, 403, "POST", "/login", by("nonsense"))
		hs.Nobody().IsRefused(matrix.CodeForbidden, 403, "POST", "/login", by(alice.Token))
		hs.Nobody().IsRefused(matrix.CodeMissingParam, 400, "POST", "/login", `{"type":"m.login.token"}`)

		token = getsLoginToken(t, alice)
		alice.Must("POST", "/logout/all", nil)
		hs.Nobody().IsRefused(matrix.CodeForbidden, 403, "POST", "/login", by(token))
	})
}

func TestServerWithoutLoginTokens(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, func(c *config.Config) { c.Sessions.LoginTokens = false })
		alice := hs.User("alice")
		alice.IsRefused(matrix.CodeForbidden, 400, "POST", "/_matrix/client/v1/login/get_token", `{}`)
		hs.Nobody().IsRefused(matrix.CodeUnknown, 400, "POST", "/login", `{"type":"m.login.token","token":"x"}`)
	})
}

// TestAddressesAreToldNotToBe asks for what needs e-mail, phone or an identity server.
func TestAddressesAreToldNotToBe(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		alice := story.Start(t, dsn).User("alice")
		if a := alice.Reads("/account/3pid"); a.String() != `{"threepids":[]}` {
			t.Errorf("alice has the addresses %s", a)
		}
		const email, phone = `{"client_secret":"s","send_attempt":1,"email":"a@example.org"}`, `{"client_secret":"s","send_attempt":1,"country":"DE","phone_number":"1"}`
		for _, of := range []string{"/register", "/account/password", "/account/3pid"} {
			alice.IsRefused(matrix.CodeThreepidMediumNotSupported, 400, "POST", of+"/email/requestToken", email)
			alice.IsRefused(matrix.CodeThreepidMediumNotSupported, 400, "POST", of+"/msisdn/requestToken", phone)
			alice.IsRefused(matrix.CodeMissingParam, 400, "POST", of+"/email/requestToken", `{}`)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", "/account/3pid", `{"three_pid_creds":{}}`)
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", "/account/3pid/add", `{"client_secret":"s","sid":"1"}`)
		alice.IsRefused(matrix.CodeServerNotTrusted, 400, "POST", "/account/3pid/bind", `{"client_secret":"s","sid":"1","id_server":"id.example.org","id_access_token":"t"}`)
		for _, act := range []string{"delete", "unbind"} {
			if a := alice.Must("POST", "/account/3pid/"+act, `{"medium":"email","address":"a@example.org"}`); a.At("id_server_unbind_result").Text() != "no-support" {
				t.Errorf("%s is answered by %s", act, a)
			}
			alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", "/account/3pid/"+act, `{"medium":"pigeon","address":"a"}`)
		}
	})
}
