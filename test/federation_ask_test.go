package test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"strings"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestRemoteAlias(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom(map[string]any{"room_alias_name": "kitchen"})
		alias := "#kitchen:" + string(a.ServerName())

		found := bob.Reads(story.Path("directory", "room", alias))
		if found.At("room_id").Text() != room || found.At("servers", 0).Text() != string(a.ServerName()) {
			t.Errorf("bob is told %s", found)
		}
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("directory", "room", "#cellar:"+string(a.ServerName())), nil)
	})
}

func TestRemoteDirectory(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		for _, name := range []string{"Kitchen", "Cellar", "Attic"} {
			alice.CreatesRoom(map[string]any{"visibility": "public", "name": name})
		}
		at := "/publicRooms?server=" + url.QueryEscape(string(a.ServerName()))

		var names []string
		since := ""
		for range 3 {
			part := bob.Reads(at + "&limit=1&since=" + url.QueryEscape(since))
			names = append(names, part.At("chunk", 0, "name").Text())
			since = part.At("next_batch").Text()
		}
		if all := strings.Join(names, " "); since != "" || !strings.Contains(all, "Kitchen") || !strings.Contains(all, "Cellar") || !strings.Contains(all, "Attic") {
			t.Errorf("the directory is %q, and more behind %q", names, since)
		}
		searched := bob.Must("POST", at, `{"filter":{"generic_search_term":"cell"}}`)
		if n := len(searched.At("chunk").List()); n != 1 || searched.At("chunk", 0, "name").Text() != "Cellar" {
			t.Errorf("the search finds %s", searched)
		}
		bob.IsRefused(matrix.CodeInvalidParam, 400, "GET", "/publicRooms?server=not%20a%20server", nil)
	})
}

// TestRemoteThatIsNotThere: a server that does not answer is told as such, and soon.
func TestRemoteThatIsNotThere(t *testing.T) {
	t.Parallel()
	a := story.StartFederated(t, testkit.SQLite(t))[0]
	alice, gone := a.User("alice"), story.OwnAddress(t)
	alice.IsRefused(matrix.CodeUnknown, 502, "GET", story.Path("profile", "@bob:"+gone), nil)
	alice.IsRefused(matrix.CodeUnknown, 502, "GET", story.Path("directory", "room", "#kitchen:"+gone), nil)
	alice.IsRefused(matrix.CodeUnknown, 502, "GET", "/publicRooms?server="+gone, nil)
	alice.IsRefused(matrix.CodeUnknown, 502, "GET", "/_matrix/client/v1/media/download/"+gone+"/abc", nil)
}

func TestOpenID(t *testing.T) {
	t.Parallel()
	a := story.StartFederated(t, testkit.SQLite(t))[0]
	alice, nobody := a.User("alice"), a.Nobody()
	token := alice.Must("POST", story.Path("user", alice.ID, "openid", "request_token"), `{}`).At("access_token").Text()
	const at = "/_matrix/federation/v1/openid/userinfo"
	if who := nobody.Reads(at + "?access_token=" + token); who.At("sub").Text() != alice.ID {
		t.Errorf("the token is of %s", who)
	}
	nobody.IsRefused(matrix.CodeUnknownToken, 401, "GET", at+"?access_token=astro_o_nonsense", nil)
	nobody.IsRefused(matrix.CodeUnknownToken, 401, "GET", at+"?access_token="+alice.Token, nil)
	nobody.IsRefused(matrix.CodeMissingToken, 401, "GET", at, nil)
}

func TestRemoteMedia(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		picture := picturePNG(t, 700, 500)
		uri := alice.Uploads("cat.png", "image/png", picture)
		file := strings.TrimPrefix(uri, "mxc:/")

		resp, body := bob.Fetches("/_matrix/client/v1/media/download" + file)
		if resp.StatusCode != 200 || !bytes.Equal(body, picture) || resp.Header.Get("Content-Type") != "image/png" ||
			!strings.Contains(resp.Header.Get("Content-Disposition"), "cat.png") {
			t.Fatalf("bob gets status %d, %v, %d bytes of %d", resp.StatusCode, resp.Header, len(body), len(picture))
		}
		resp, body = bob.Fetches("/_matrix/client/v1/media/thumbnail" + file + "?width=32&height=32&method=crop")
		small, err := png.DecodeConfig(bytes.NewReader(body))
		if resp.StatusCode != 200 || err != nil || small.Width != 32 || small.Height != 32 {
			t.Errorf("the thumbnail is status %d, %v, %dx%d", resp.StatusCode, err, small.Width, small.Height)
		}
		a.Stop() // from here on bob's server has it
		if resp, body = bob.Fetches("/_matrix/client/v1/media/download" + file); resp.StatusCode != 200 || !bytes.Equal(body, picture) {
			t.Errorf("once more bob gets status %d", resp.StatusCode)
		}
	})
}

func TestRemoteMediaThatIsNotThere(t *testing.T) {
	t.Parallel()
	servers := story.StartFederated(t, testkit.SQLite(t), testkit.SQLite(t))
	bob := servers[1].User("bob")
	bob.IsRefused(matrix.CodeNotFound, 404, "GET", "/_matrix/client/v1/media/download/"+string(servers[0].ServerName())+"/nothing", nil)
}

// picturePNG makes a picture.
func picturePNG(t *testing.T, width, height int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		img.SetNRGBA(i%width, i/width, color.NRGBA{uint8(i), uint8(i >> 8), uint8(i >> 16), 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRemoteSpace(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		names := func(q string, space string) string {
			var all []string
			for _, r := range bob.Reads("/_matrix/client/v1/rooms/" + url.PathEscape(space) + "/hierarchy" + q).At("rooms").List() {
				all = append(all, r.At("name").Text())
			}
			return strings.Join(all, " ")
		}
		space := func(u *story.User, name string) string {
			return u.CreatesRoom(map[string]any{"name": name, "creation_content": map[string]any{"type": "m.space"}})
		}
		child := func(u *story.User, parent, room string, of *story.Server, order string) {
			u.SetsState(parent, "m.space.child", room, map[string]any{"via": []string{string(of.ServerName())}, "order": order})
		}
		house, floor := space(alice, "House"), space(alice, "Floor")
		kitchen := alice.CreatesRoom(map[string]any{"name": "Kitchen"})
		secret := alice.CreatesRoom(map[string]any{"name": "Secret", "preset": "private_chat"})
		attic := bob.CreatesRoom(map[string]any{"name": "Attic"})
		child(alice, house, floor, a, "1")
		child(alice, house, secret, a, "2")
		child(alice, house, attic, b, "3")
		child(alice, floor, kitchen, a, "1")
		town := space(bob, "Town")
		child(bob, town, house, a, "1")

		if got := names("", town); got != "Town House Floor Kitchen Attic" {
			t.Errorf("the town has %q", got)
		}
		if got := names("?max_depth=1", town); got != "Town House" {
			t.Errorf("the town alone has %q", got)
		}
		first := bob.Reads("/_matrix/client/v1/rooms/" + url.PathEscape(town) + "/hierarchy" + "?limit=3")
		rest := names("?limit=3&from="+url.QueryEscape(first.At("next_batch").Text()), town)
		if first.At("rooms", 2, "name").Text() != "Floor" || rest != "Kitchen Attic" {
			t.Errorf("the town in parts has %s and %q", first, rest)
		}

		summary := "/_matrix/client/v1/room_summary/" + url.PathEscape(kitchen) + "?via=" + url.QueryEscape(string(a.ServerName()))
		if s := bob.Reads(summary); s.At("name").Text() != "Kitchen" || s.At("membership").Text() != "leave" || s.At("num_joined_members").Int() != 1 {
			t.Errorf("the kitchen is %s", s)
		}
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", "/_matrix/client/v1/room_summary/"+url.PathEscape(secret)+"?via="+url.QueryEscape(string(a.ServerName())), nil)
	})
}

func TestRemoteKeys(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		device, gone := hasDevice(t, alice), story.OwnAddress(t)
		alice.Must("POST", "/keys/upload", map[string]any{"one_time_keys": map[string]any{"signed_curve25519:AAAA": device.oneTime()}})

		keys := queries(bob, alice.ID, "@carol:"+gone)
		if got := keys.At("device_keys", alice.ID, alice.Device, "keys", device.id()).Text(); got != device.public {
			t.Errorf("bob is told %s", keys)
		}
		if !keys.At("failures").Has(gone) || keys.At("failures").Has(string(a.ServerName())) {
			t.Errorf("the failures are %s", keys.At("failures"))
		}
		claim := map[string]any{"one_time_keys": map[string]any{alice.ID: map[string]string{alice.Device: "signed_curve25519"}}}
		claimed := bob.Must("POST", "/keys/claim", claim)
		if got := claimed.At("one_time_keys", alice.ID, alice.Device, "signed_curve25519:AAAA", "key").Text(); got != device.public {
			t.Errorf("bob is given %s", claimed)
		}
		if again := bob.Must("POST", "/keys/claim", claim); again.At("one_time_keys", alice.ID).Has(alice.Device) {
			t.Errorf("bob is given the key twice: %s", again)
		}
	})
}

// TestRemoteDeviceNames: names of devices are told to other servers where the settings say so, and each new one
// is news.
func TestRemoteDeviceNames(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t), func(c *config.Config) { c.Federation.DeviceNames = told })
		b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		bob.Must("POST", story.Path("join", room)+"?via="+url.QueryEscape(string(a.ServerName())), `{}`)
		bob.Syncs() // a first sync tells no changes
		hasDevice(t, alice)
		bob.Waits("alice's device", lists("changed", alice.ID))
		name := func() string {
			return queries(bob, alice.ID).At("device_keys", alice.ID, alice.Device, "unsigned", "device_display_name").Text()
		}
		alice.Must("PUT", story.Path("devices", alice.Device), `{"display_name":"Phone"}`)
		if !told {
			if got := name(); got != "" {
				t.Errorf("the name %q is told", got)
			}
			continue
		}
		bob.Waits("the name", func(a story.JSON) bool { return lists("changed", alice.ID)(a) && name() == "Phone" })
	}
}
