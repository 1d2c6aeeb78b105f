package test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

const sharedSecret = "a secret for programs"

func withSecret(c *config.Config) { c.Registration.SharedSecret = sharedSecret }

// administrator makes an administrator by the shared secret.
func administrator(t *testing.T, hs *story.Server, name string) *story.User {
	t.Helper()
	u := hs.Nobody()
	u.Name, u.Password = name, "the administrator's password"
	const path = "/_synapse/admin/v1/register"
	nonce := u.Reads(path).At("nonce").Text()
	mac := hmac.New(sha1.New, []byte(sharedSecret))
	mac.Write([]byte(nonce + "\x00" + name + "\x00" + u.Password + "\x00admin"))
	a := u.Must("POST", path, map[string]any{
		"nonce": nonce, "username": name, "password": u.Password, "admin": true, "mac": hex.EncodeToString(mac.Sum(nil)),
	})
	u.ID, u.Token, u.Device = a.At("user_id").Text(), a.At("access_token").Text(), a.At("device_id").Text()
	return u
}

func TestAdministratorsLockAndSuspend(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		room := alice.CreatesRoom()

		const v1 = "/_matrix/client/v1/admin/"
		alice.IsRefused(matrix.CodeForbidden, 403, "GET", v1+"lock/@nobody:localhost", nil)
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", v1+"lock/"+root.ID, `{"locked":true}`)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", v1+"lock/@nobody:localhost", nil)
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", v1+"suspend/@alice:elsewhere.org", nil)
		root.IsRefused(matrix.CodeForbidden, 403, "PUT", v1+"suspend/"+root.ID, `{"suspended":true}`)

		if a := root.Must("PUT", v1+"lock/"+alice.ID, `{"locked":true}`); !a.At("locked").Bool() {
			t.Errorf("a lock is answered by %s", a)
		}
		if a := alice.IsRefused(matrix.CodeUserLocked, 401, "GET", "/account/whoami", nil); !a.At("soft_logout").Bool() {
			t.Errorf("a locked user is told %s", a)
		}
		root.Must("PUT", v1+"lock/"+alice.ID, `{"locked":false}`)
		root.Must("PUT", v1+"suspend/"+alice.ID, `{"suspended":true}`)
		if a := root.Reads(v1 + "suspend/" + alice.ID); !a.At("suspended").Bool() {
			t.Errorf("a suspended user is %s", a)
		}
		alice.IsRefused(matrix.CodeUserSuspended, 403, "PUT", "/rooms/"+room+"/send/m.room.message/t", `{"body":"hi","msgtype":"m.text"}`)

		if c := root.Reads("/capabilities").At("capabilities", "m.account_moderation"); c.String() != `{"lock":true,"suspend":true}` {
			t.Errorf("an administrator can %s", c)
		}
		if c := alice.Reads("/capabilities").At("capabilities"); c.Has("m.account_moderation") {
			t.Errorf("a user can %s", c)
		}
		if w := alice.Reads("/admin/whois/" + alice.ID); !w.At("devices").Has(alice.Device) {
			t.Errorf("whois says %s", w)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "GET", "/admin/whois/"+root.ID, nil)
	})
}

func TestAdministratorsKeepAccounts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		const v1, v2 = "/_synapse/admin/v1/", "/_synapse/admin/v2/"
		alice.IsRefused(matrix.CodeForbidden, 403, "GET", v2+"users", nil)
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", v1+"users/"+alice.ID+"/admin", `{"admin":true}`)

		list := root.Reads(v2 + "users?limit=2")
		if got := list.At("users").Texts("name"); len(got) != 2 || got[0] != alice.ID || got[1] != bob.ID || list.At("total").Int() != 3 || list.At("next_token").Text() != "2" {
			t.Errorf("the first page is %s", list)
		}
		if rest := root.Reads(v2 + "users?limit=2&from=2"); rest.At("users", 0, "name").Text() != root.ID || rest.Has("next_token") {
			t.Errorf("the last page is %s", rest)
		}
		if found := root.Reads(v2 + "users?name=LIC"); found.At("total").Int() != 1 || found.At("users", 0, "name").Text() != alice.ID {
			t.Errorf("a search found %s", found)
		}
		root.IsRefused(matrix.CodeInvalidParam, 400, "GET", v2+"users?limit=-1", nil)

		made := root.Does("PUT", v2+"users/@carol:localhost", `{"password":"a good password","displayname":"Carol"}`)
		if made.Status != 201 || made.At("displayname").Text() != "Carol" {
			t.Fatalf("a new account: %d %s", made.Status, made)
		}
		if again := root.Must("PUT", v2+"users/@carol:localhost", `{"admin":true}`); !again.At("admin").Bool() {
			t.Errorf("the changed account is %s", again)
		}
		root.IsRefused(matrix.CodeForbidden, 403, "PUT", v1+"users/"+root.ID+"/admin", `{"admin":false}`)

		root.Must("POST", v1+"reset_password/"+alice.ID, `{"new_password":"another good password"}`)
		alice.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil)
		alice.Password = "another good password"
		phone := alice.LogsIn()
		devices := root.Reads(v2 + "users/" + alice.ID + "/devices")
		if devices.At("total").Int() != 1 || devices.At("devices", 0, "device_id").Text() != phone.Device {
			t.Errorf("the devices are %s", devices)
		}
		root.Must("DELETE", v2+"users/"+alice.ID+"/devices/"+phone.Device, nil)
		phone.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil)

		root.Must("POST", v1+"deactivate/"+bob.ID, `{"erase":true}`)
		if gone := root.Reads(v2 + "users/" + bob.ID); !gone.At("deactivated").Bool() || !gone.At("erased").Bool() {
			t.Errorf("the deactivated account is %s", gone)
		}
		for query, want := range map[string]int64{"v2/users": 3, "v2/users?deactivated=true": 4, "v3/users": 4, "v3/users?deactivated=true": 1, "v3/users?deactivated=false&order_by=creation_ts": 3} {
			if list := root.Reads("/_synapse/admin/" + query); list.At("total").Int() != want {
				t.Errorf("%s lists %s, not %d", query, list, want)
			}
		}
		root.IsRefused(matrix.CodeUserDeactivated, 403, "PUT", v2+"users/"+bob.ID, `{"deactivated":false}`)
	})
}

func TestAdministratorsOverseeRooms(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		first := alice.CreatesRoom(map[string]any{"name": "Apples", "room_alias_name": "apples"})
		second := alice.CreatesRoom(map[string]any{"name": "Pears", "preset": "private_chat"})
		bob.Joins(first)
		const v1 = "/_synapse/admin/v1/"
		list := root.Reads(v1 + "rooms?limit=1")
		if list.At("total_rooms").Int() != 2 || list.At("rooms", 0, "room_id").Text() != first || list.At("next_batch").Int() != 1 {
			t.Errorf("the rooms are %s", list)
		}
		if list := root.Reads(v1 + "rooms?search_term=PEA"); list.At("total_rooms").Int() != 1 || list.At("rooms", 0, "room_id").Text() != second {
			t.Errorf("the search gave %s", list)
		}
		one := root.Reads(v1 + "rooms/" + first)
		if one.At("joined_members").Int() != 2 || one.At("joined_local_members").Int() != 2 || one.At("name").Text() != "Apples" || one.At("creator").Text() != alice.ID {
			t.Errorf("the room is %s", one)
		}
		if m := root.Reads(v1 + "rooms/" + first + "/members"); m.At("total").Int() != 2 || m.At("members", 0).Text() != alice.ID {
			t.Errorf("the members are %s", m)
		}
		if _, found := root.Reads(v1 + "rooms/" + second + "/state").At("state").Find(func(e story.JSON) bool { return e.At("type").Text() == "m.room.create" }); !found {
			t.Error("the state has no create event")
		}
		root.IsRefused(matrix.CodeNotFound, 404, "GET", v1+"rooms/!nowhere:localhost", nil)
		root.Must("POST", v1+"join/%23apples:localhost", `{"user_id":"`+root.ID+`"}`)
		if m := root.Reads(v1 + "users/" + root.ID + "/joined_rooms"); m.At("joined_rooms", 0).Text() != first {
			t.Errorf("the administrator is in %s", m)
		}
		root.IsRefused(matrix.CodeForbidden, 403, "POST", v1+"join/"+second, `{"user_id":"`+bob.ID+`"}`)
	})
}

func TestAdministratorsKeepRegistrationTokens(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		root := administrator(t, story.Start(t, dsn, withSecret), "root")
		const tokens = "/_synapse/admin/v1/registration_tokens"
		made := root.Must("POST", tokens+"/new", `{"token":"welcome","uses_allowed":3}`)
		if made.At("uses_allowed").Int() != 3 || made.At("expiry_time").There() {
			t.Errorf("the token is %s", made)
		}
		if changed := root.Must("PUT", tokens+"/welcome", `{"uses_allowed":null,"expiry_time":1}`); changed.At("uses_allowed").There() || changed.At("expiry_time").Int() != 1 {
			t.Errorf("the changed token is %s", changed)
		}
		if list := root.Reads(tokens + "?valid=true"); len(list.At("registration_tokens").List()) != 0 {
			t.Errorf("a token that has ended is good: %s", list)
		}
		root.Must("DELETE", tokens+"/welcome", nil)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", tokens+"/welcome", nil)
	})
}
