package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

const (
	bridgeToken = "the token of the bridge"
	serverToken = "the token of the server"
)

// bridge is an application service: a real HTTP server.
type bridge struct {
	t    *testing.T
	http *httptest.Server
	hs   *story.Server
	bot  *story.User

	mu     sync.Mutex
	broken int           // transactions that it will refuse
	txns   []transaction // in the order in which they came, repetitions too
	news   chan struct{}
	asked  func(path string) bool // whether it makes a user or an alias
}

type transaction struct {
	id     string
	body   string
	taken  bool
	events []story.JSON
}

// startBridge starts a bridge, and a server on which it is registered.
// Further settings of its registration may be given.
func startBridge(t *testing.T, dsn string, settings ...string) *bridge {
	t.Helper()
	return startBridgeOn(t, "localhost", func(registered story.Option) *story.Server { return story.Start(t, dsn, withSecret, registered) }, settings...)
}

// startBridgeOn starts a bridge, and a server of a name as it is told.
func startBridgeOn(t *testing.T, name string, start func(registered story.Option) *story.Server, settings ...string) *bridge {
	t.Helper()
	b := &bridge{t: t, news: make(chan struct{}, 1000)}
	b.http = httptest.NewServer(b)
	t.Cleanup(b.http.Close)
	file := filepath.Join(t.TempDir(), "bridge.yaml")
	text := fmt.Sprintf(`
id: bridge
url: %s
as_token: %s
hs_token: %s
sender_localpart: bridgebot
rate_limited: false
protocols: [pigeon]
receive_ephemeral: true
de.sorunome.msc2409.push_ephemeral: true
namespaces:
  users: [{exclusive: true, regex: '@_bridge_.*:%[4]s'}]
  aliases: [{exclusive: true, regex: '#_bridge_.*:%[4]s'}]
`, b.http.URL, bridgeToken, serverToken, regexp.QuoteMeta(name)) + strings.Join(settings, "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.hs = start(func(c *config.Config) { c.ApplicationServices = []string{filepath.Dir(file) + "/*.yaml"} })
	b.bot = b.hs.Nobody()
	b.bot.Name, b.bot.ID, b.bot.Token = "bridge", "@bridgebot:"+name, bridgeToken
	return b
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+serverToken {
		b.t.Errorf("the server came with the token %q", r.Header.Get("Authorization"))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Error(err)
	}
	path, found := strings.CutPrefix(r.URL.Path, "/_matrix/app/v1/")
	kind, rest, _ := strings.Cut(path, "/")
	if !found {
		b.t.Errorf("the server asked for %s", r.URL.Path)
	}
	answer := "{}"
	switch {
	case kind == "transactions":
		if !b.takes(rest, body) {
			w.WriteHeader(http.StatusBadGateway)
		}
	case kind == "ping":
		answer = string(body)
	case path == "thirdparty/protocol/pigeon":
		answer = `{"user_fields":["ring"],"location_fields":[],"icon":"","field_types":{},"instances":[{"desc":"Pigeons","fields":{},"network_id":"p"}]}`
	case path == "thirdparty/user/pigeon" && r.URL.Query().Get("ring") == "7":
		answer = `[{"userid":"@_bridge_7:localhost","protocol":"pigeon","fields":{"ring":"7"}}]`
	case (kind == "users" || kind == "rooms") && b.asked != nil && b.asked(rest):
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	if _, err := io.WriteString(w, answer); err != nil {
		b.t.Log(err)
	}
}

// takes notes a transaction; false: the bridge is broken.
func (b *bridge) takes(id string, body []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, err := story.ParseJSON(body)
	if err != nil {
		b.t.Error(err)
	}
	taken := b.broken == 0
	b.broken = max(0, b.broken-1)
	b.txns = append(b.txns, transaction{id, string(body), taken, all.At("events").List()})
	b.news <- struct{}{}
	return taken
}

// hears waits until the bridge was told of a message, and gives the bodies of all messages that it took,
// without repetitions of transactions.
func (b *bridge) hears(text string) []string {
	b.t.Helper()
	for {
		b.mu.Lock()
		var heard []string
		seen := map[string]bool{}
		for _, txn := range b.txns {
			if seen[txn.id] || !txn.taken {
				continue
			}
			seen[txn.id] = true
			for _, e := range txn.events {
				if body := e.At("content", "body").Text(); body != "" {
					heard = append(heard, body)
				}
			}
		}
		ok := slices.Contains(heard, text)
		b.mu.Unlock()
		if ok {
			return heard
		}
		arrives(b.t, b.news, "the bridge to hear "+text)
	}
}

// arrives takes what comes from a channel.
func arrives[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatalf("waited in vain for %s", what)
	}
	panic("not reached")
}

// as is the bridge acting for a user.
func as(user, path string) string {
	sign := "?"
	if strings.Contains(path, "?") {
		sign = "&"
	}
	return path + sign + "user_id=" + user
}

func (b *bridge) registers(name string) string {
	b.t.Helper()
	a := b.bot.Must("POST", "/register", map[string]any{"type": "m.login.application_service", "username": name, "inhibit_login": true})
	if a.Has("access_token") {
		b.t.Errorf("an inhibited log-in answered %s", a)
	}
	return a.At("user_id").Text()
}

func TestABridgeActsForItsUsers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		b := startBridge(t, dsn)
		bot, alice := b.bot, b.hs.User("alice")
		room := alice.CreatesRoom()
		ghost := b.registers("_bridge_7")

		if who := bot.Reads("/account/whoami"); who.At("user_id").Text() != bot.ID {
			t.Errorf("the bridge is %s", who)
		}
		bot.Must("POST", as(ghost, "/rooms/"+room+"/join"), `{}`)
		sent := bot.Must("PUT", as(ghost, "/rooms/"+room+"/send/m.room.message/t1?ts=1234567"), `{"body":"coo","msgtype":"m.text"}`)
		event := alice.Reads(story.Path("rooms", room, "event", sent.At("event_id").Text()))
		if event.At("sender").Text() != ghost || event.At("origin_server_ts").Int() != 1234567 {
			t.Errorf("the message is %s", event)
		}

		bot.IsRefused(matrix.CodeForbidden, 403, "GET", as(alice.ID, "/account/whoami"), nil)
		bot.IsRefused(matrix.CodeForbidden, 403, "GET", as("@_bridge_8:localhost", "/account/whoami"), nil)
		bot.IsRefused(matrix.CodeExclusive, 400, "POST", "/register", `{"type":"m.login.application_service","username":"carol"}`)
		b.hs.Nobody().IsRefused(matrix.CodeMissingToken, 401, "POST", "/register", `{"type":"m.login.application_service","username":"_bridge_9"}`)
		alice.IsRefused(matrix.CodeUnknownToken, 401, "POST", "/login", `{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":"_bridge_7"}}`)
		b.hs.Nobody().IsRefused(matrix.CodeExclusive, 400, "POST", "/register", `{"username":"_bridge_9","password":"a good password","auth":{"type":"m.login.dummy"}}`)
		alice.IsRefused(matrix.CodeExclusive, 400, "PUT", "/directory/room/%23_bridge_x:localhost", `{"room_id":"`+room+`"}`)
		alice.IsRefused(matrix.CodeExclusive, 400, "POST", "/createRoom", `{"room_alias_name":"_bridge_x"}`)

		login := bot.Must("POST", "/login", `{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":"_bridge_7"},"device_id":"NEST"}`)
		if login.At("device_id").Text() != "NEST" || login.At("user_id").Text() != ghost {
			t.Errorf("the login answered %s", login)
		}
		bot.IsRefused(matrix.CodeUnknownDevice, 400, "GET", as(ghost, "/account/whoami?device_id=OTHER"), nil)
		if made := bot.Does("PUT", as(ghost, "/devices/OTHER"), `{"display_name":"Other"}`); made.Status != 201 {
			t.Errorf("a new device: %d %s", made.Status, made)
		}
		bot.Must("PUT", as(ghost, "/devices/OTHER"), `{"display_name":"Another"}`)
		if who := bot.Reads(as(ghost, "/account/whoami?org.matrix.msc3202.device_id=OTHER")); who.At("device_id").Text() != "OTHER" {
			t.Errorf("the bridge's device is %s", who)
		}
		bot.Must("DELETE", as(ghost, "/devices/OTHER"), `{}`)

		if p := bot.Must("POST", "/_matrix/client/v1/appservice/bridge/ping", `{"transaction_id":"p"}`); !p.Has("duration_ms") {
			t.Errorf("the ping answered %s", p)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", "/_matrix/client/v1/appservice/bridge/ping", `{}`)
		bot.IsRefused(matrix.CodeForbidden, 403, "POST", "/_matrix/client/v1/appservice/other/ping", `{}`)
	})
}

func TestABridgeIsToldItsEventsInOrder(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		b := startBridge(t, dsn)
		bot, alice := b.bot, b.hs.User("alice")
		ghost := b.registers("_bridge_7")
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		alice.Says(other, "not for the bridge")
		bot.Must("POST", as(ghost, "/rooms/"+room+"/join"), `{}`)
		alice.Says(room, "first")
		b.hears("first")

		b.mu.Lock()
		b.broken, b.txns = 2, nil
		b.mu.Unlock()
		alice.Says(room, "second")
		b.hears("second")
		b.mu.Lock()
		if len(b.txns) < 3 || b.txns[0].id != b.txns[1].id || b.txns[0].id != b.txns[2].id || b.txns[0].body != b.txns[2].body {
			t.Errorf("a refused transaction came again as %v", b.txns)
		}
		b.mu.Unlock()

		b.hs.Restart()
		want := []string{"second"}
		for i := range 120 {
			text := fmt.Sprint("after the restart ", i)
			want = append(want, text)
			alice.Says(room, text)
		}
		if heard := b.hears(want[len(want)-1]); !slices.Equal(heard, want) {
			t.Errorf("the bridge heard %q", heard)
		}
	})
}

func TestABridgeIsAskedForUsersAndAliases(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		b := startBridge(t, dsn)
		bot, alice := b.bot, b.hs.User("alice")
		var room string
		b.asked = func(name string) bool {
			switch name {
			case "@_bridge_7:localhost":
				b.registers("_bridge_7")
				bot.Must("PUT", as(name, "/profile/"+name+"/displayname"), `{"displayname":"Pigeon"}`)
				return true
			case "#_bridge_loft:localhost":
				room = bot.Must("POST", "/createRoom", `{"preset":"public_chat","room_alias_name":"_bridge_loft"}`).At("room_id").Text()
				return true
			}
			return false
		}
		if joined := alice.Must("POST", "/join/%23_bridge_loft:localhost", `{}`); joined.At("room_id").Text() != room {
			t.Errorf("the alias led to %s", joined)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", "/directory/room/%23_bridge_attic:localhost", nil)
		if p := alice.Reads("/profile/@_bridge_7:localhost"); p.At("displayname").Text() != "Pigeon" {
			t.Errorf("the bridge's user is %s", p)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", "/profile/@_bridge_8:localhost", nil)

		if p := alice.Reads("/thirdparty/protocols"); p.At("pigeon", "instances", 0, "network_id").Text() != "p" {
			t.Errorf("the protocols are %s", p)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", "/thirdparty/protocol/owl", nil)
		instance := alice.Reads("/thirdparty/protocol/pigeon").At("instances", 0, "instance_id").Text()
		list := "/directory/list/appservice/p/" + room
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", list, `{"visibility":"public"}`)
		for visibility, want := range map[string]int{"public": 1, "private": 0} {
			bot.Must("PUT", list, `{"visibility":"`+visibility+`"}`)
			if rooms := alice.Must("POST", "/publicRooms", `{"third_party_instance_id":"`+instance+`"}`); len(rooms.At("chunk").List()) != want {
				t.Errorf("a room that is %s: the directory of %s is %s", visibility, instance, rooms)
			}
		}
		bot.Must("PUT", list, `{"visibility":"public"}`)
		for body, want := range map[string]int{`{}`: 0, `{"include_all_networks":true}`: 1} {
			if rooms := alice.Must("POST", "/publicRooms", body); len(rooms.At("chunk").List()) != want {
				t.Errorf("the directory by %s is %s", body, rooms)
			}
		}

		home := alice.CreatesRoom()
		alice.IsRefused(matrix.CodeExclusive, 400, "PUT", "/directory/room/%23_bridge_home:localhost", `{"room_id":"`+home+`"}`)
		bot.Must("PUT", "/directory/room/%23_bridge_home:localhost", `{"room_id":"`+home+`"}`)
		bot.IsRefused(matrix.CodeNotFound, 404, "PUT", "/directory/room/%23_bridge_none:localhost", `{"room_id":"!none:localhost"}`)
		bot.Must("POST", as("@_bridge_7:localhost", "/account/deactivate"), `{}`)
		if a := bot.Does("GET", as("@_bridge_7:localhost", "/account/whoami"), nil); a.Status == 200 {
			t.Errorf("the account that the bridge ended is %s", a)
		}
		users := thirdPartyList(t, b.hs.URL+"/_matrix/client/v3/thirdparty/user/pigeon?ring=7", alice.Token)
		if len(users) != 1 || users[0]["userid"] != "@_bridge_7:localhost" {
			t.Errorf("the users are %v", users)
		}
	})
}

// thirdPartyList reads an answer that is a list.
func thirdPartyList(t *testing.T, url, token string) (list []map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}
