package test

import (
	"strings"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func withGuests(c *config.Config) { c.Registration.Guests = true }

// guest registers somebody who only looks around.
func guest(hs *story.Server) *story.User {
	u := hs.Nobody()
	a := u.Must("POST", "/register?kind=guest", `{"initial_device_display_name":"a browser","password":"ignored","username":"root","device_id":"MINE"}`)
	u.Name, u.ID, u.Token, u.Device = "a guest", a.At("user_id").Text(), a.At("access_token").Text(), a.At("device_id").Text()
	return u
}

func TestGuestsLookAround(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withGuests)
		alice, eve := hs.User("alice"), guest(hs)
		if strings.HasPrefix(eve.ID, "@root:") || eve.Device == "MINE" {
			t.Errorf("a guest chose to be %s on %s", eve.ID, eve.Device)
		}
		if who := eve.Reads("/account/whoami"); !who.At("is_guest").Bool() {
			t.Errorf("a guest is %s", who)
		}
		open := alice.CreatesRoom(map[string]any{"initial_state": []any{map[string]any{
			"type": "m.room.guest_access", "state_key": "", "content": map[string]any{"guest_access": "can_join"},
		}}})
		closed := alice.CreatesRoom()
		eve.Joins(open)
		eve.Says(open, "hello")
		alice.Sees(open, "hello")
		eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", story.Path("join", closed), `{}`)
		alice.Invites(closed, eve)
		eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", story.Path("join", closed), `{}`)

		for _, c := range []struct{ method, path, body string }{
			{"POST", "/createRoom", `{}`},
			{"POST", story.Path("knock", closed), `{}`},
			{"PUT", story.Path("rooms", open, "state", "m.room.topic"), `{"topic":"guests"}`},
			{"POST", story.Path("rooms", open, "invite"), `{"user_id":"@alice:localhost"}`},
			{"POST", story.Path("rooms", open, "kick"), `{"user_id":"@alice:localhost"}`},
			{"POST", "/pushers/set", `{}`},
			{"POST", "/search", `{}`},
			{"POST", "/user_directory/search", `{"search_term":"alice"}`},
			{"PUT", "/directory/room/%23guests:localhost", `{"room_id":"` + open + `"}`},
			{"POST", "/_matrix/media/v3/upload", `{}`},
		} {
			eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, c.method, c.path, c.body)
		}

		alice.SetsState(open, "m.room.guest_access", "", map[string]any{"guest_access": "forbidden"})
		alice.SeesMembership(open, eve, "leave")
		eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", story.Path("join", open), `{}`)
	})
}

func TestGuestBecomesAUser(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withGuests)
		alice, eve := hs.User("alice"), guest(hs)
		name, _, _ := strings.Cut(eve.ID[1:], ":")
		wish := func(token, name string) map[string]any {
			return map[string]any{"guest_access_token": token, "username": name, "password": "a good password", "auth": map[string]any{"type": "m.login.dummy"}}
		}
		nobody := hs.Nobody()
		nobody.IsRefused(matrix.CodeForbidden, 403, "POST", "/register", wish(alice.Token, "alice"))
		nobody.IsRefused(matrix.CodeInvalidParam, 400, "POST", "/register", wish(eve.Token, "eve"))
		nobody.IsRefused(matrix.CodeUnknownToken, 401, "POST", "/register", wish("nonsense", name))

		if made := nobody.Must("POST", "/register", wish(eve.Token, name)); made.At("user_id").Text() != eve.ID {
			t.Fatalf("a guest became %s", made)
		}
		if who := eve.Reads("/account/whoami"); who.At("is_guest").Bool() {
			t.Errorf("who was a guest is %s", who)
		}
		eve.CreatesRoom()
		nobody.IsRefused(matrix.CodeForbidden, 403, "POST", "/register", wish(eve.Token, name))
		eve.Name, eve.Password = name, "a good password"
		eve.LogsIn()
	})
}

func TestServerWithoutGuests(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		hs.Nobody().IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", "/register?kind=guest", `{}`)
		hs.Nobody().IsRefused(matrix.CodeInvalidParam, 400, "POST", "/register?kind=god", `{}`)
	})
}

// TestGuestsAtOtherServers lets a guest into a room of another server which is open to guests, and into no other.
func TestGuestsAtOtherServers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
		b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)+":8448"), dsn, withGuests)
		alice, bob, eve, mallory := a.User("alice"), b.User("bob"), guest(b), guest(b)
		access := func(how string) map[string]any {
			return map[string]any{"preset": "public_chat", "initial_state": []any{map[string]any{
				"type": "m.room.guest_access", "state_key": "", "content": map[string]any{"guest_access": how},
			}}}
		}
		join := func(room string) string { return story.Path("join", room) + "?via=" + string(a.ServerName()) }
		open, closed, silent := alice.CreatesRoom(access("can_join")), alice.CreatesRoom(access("forbidden")), alice.CreatesRoom()
		for _, room := range []string{closed, silent, "!nowhere:" + string(a.ServerName())} {
			eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", join(room), `{}`)
		}
		eve.Must("POST", join(open), `{}`)
		eve.Says(open, "hello from elsewhere")
		alice.Sees(open, "hello from elsewhere")

		// Bob is in: his server knows by itself.
		bob.Must("POST", join(closed), `{}`)
		eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", join(closed), `{}`)

		// A room is closed while guests of another server are in it.
		alice.SetsState(open, "m.room.guest_access", "", map[string]any{"guest_access": "forbidden"})
		alice.SeesMembership(open, eve, "leave")
		eve.IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", join(open), `{}`)

		// What its server told of a room is no longer so when the guest joins.
		changed := alice.CreatesRoom(access("can_join"))
		b.User("carol").Must("GET", "/_matrix/client/v1/room_summary/"+changed+"?via="+string(a.ServerName()), nil)
		alice.SetsState(changed, "m.room.guest_access", "", map[string]any{"guest_access": "forbidden"})
		mallory.IsRefused(matrix.CodeGuestAccessForbidden, 403, "POST", join(changed), `{}`)
		alice.SeesMembership(changed, mallory, "leave")
	})
}
