package test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// signedCall is a request of another server, of which a test changes what it likes.
type signedCall struct {
	method, uri, body   string
	origin, destination string // as they are signed
	header              string // the destination that the header names, empty: none
	id                  matrix.KeyID
	key                 ed25519.PrivateKey
}

// calls is a good request of a server.
func calls(f *story.Foreign, s *story.Server) signedCall {
	return signedCall{
		method: "POST", uri: "/_matrix/federation/v1/user/keys/query", body: `{"device_keys":{}}`,
		origin: string(f.Name), destination: string(s.ServerName()), header: string(s.ServerName()), id: f.KeyID, key: f.Key,
	}
}

// authorization is what the Authorization header says.
func (c signedCall) authorization(t *testing.T) string {
	t.Helper()
	object := map[string]any{"method": c.method, "uri": c.uri, "origin": c.origin, "destination": c.destination}
	if c.body != "" {
		object["content"] = json.RawMessage(c.body)
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := canonicaljson.Sign(text, c.origin, string(c.id), c.key)
	if err != nil {
		t.Fatal(err)
	}
	sig, _ := canonicaljson.Field(signed, "signatures", c.origin, string(c.id))
	to := ""
	if c.header != "" {
		to = fmt.Sprintf(`,destination="%s"`, c.header)
	}
	return fmt.Sprintf(`X-Matrix origin="%s"%s,key="%s",sig=%s`, c.origin, to, c.id, sig)
}

// sends sends the request, with what the header says of another one maybe.
func (c signedCall) sends(t *testing.T, s *story.Server, authorization ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(c.method, s.URL+c.uri, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	answer, _ := story.ParseJSON(text)
	return resp.StatusCode, answer.At("errcode").Text()
}

func TestForgedRequests(t *testing.T) {
	t.Parallel()
	a := story.StartFederated(t, testkit.SQLite(t))[0]
	f, other, fugitive := story.NewForeign(t), story.NewForeign(t), story.NewFugitive(t)
	good := calls(f, a)
	if status, code := good.sends(t, a, good.authorization(t)); status != 200 {
		t.Fatalf("a good request is answered %d %s", status, code)
	}
	_, stranger, _ := ed25519.GenerateKey(nil)
	with := func(change func(c *signedCall)) string {
		c := good
		change(&c)
		return c.authorization(t)
	}
	for name, header := range map[string]string{
		"a login":               "Bearer abc",
		"another key":           with(func(c *signedCall) { c.key = stranger }),
		"a key nobody has":      with(func(c *signedCall) { c.id = "ed25519:other" }),
		"another origin":        with(func(c *signedCall) { c.origin = string(other.Name) }),
		"this server's name":    with(func(c *signedCall) { c.origin = string(a.ServerName()) }),
		"another destination":   with(func(c *signedCall) { c.destination, c.header = string(other.Name), string(other.Name) }),
		"a hidden destination":  with(func(c *signedCall) { c.destination, c.header = string(other.Name), "" }),
		"a changed destination": with(func(c *signedCall) { c.destination = string(other.Name) }),
		"another body":          with(func(c *signedCall) { c.body = `{"device_keys":{"@a:b":[]}}` }),
		"no body":               with(func(c *signedCall) { c.body = "" }),
		"another method":        with(func(c *signedCall) { c.method = "PUT" }),
		"another path":          with(func(c *signedCall) { c.uri = "/_matrix/federation/v1/user/keys/claim" }),
		"another query":         with(func(c *signedCall) { c.uri += "?a=b" }),
		"a server without keys": with(func(c *signedCall) { c.origin, c.key = string(fugitive.Name), fugitive.Key }),
	} {
		if status, code := good.sends(t, a, header); status != 401 || code != string(matrix.CodeUnauthorized) {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
	if status, code := good.sends(t, a); status != 401 || code != string(matrix.CodeUnauthorized) {
		t.Errorf("without a signature: %d %s", status, code)
	}
	second := calls(other, a)
	if status, code := good.sends(t, a, good.authorization(t), second.authorization(t)); status != 401 || code != string(matrix.CodeUnauthorized) {
		t.Errorf("signed by two servers: %d %s", status, code)
	}
	// Signed with two keys, of which one is not published: one that is good is enough.
	if status, code := good.sends(t, a, with(func(c *signedCall) { c.id, c.key = "ed25519:other", stranger }), good.authorization(t)); status != 200 {
		t.Errorf("signed with two keys: %d %s", status, code)
	}
	silent := good
	silent.header = ""
	if status, code := good.sends(t, a, silent.authorization(t)); status != 200 {
		t.Errorf("without a destination, as old servers do: %d %s", status, code)
	}
}

func TestBodiesOfServersHaveABound(t *testing.T) {
	t.Parallel()
	a, f := story.StartFederated(t, testkit.SQLite(t))[0], story.NewForeign(t)
	c := calls(f, a)
	c.body = `{"device_keys":{},"x":"` + strings.Repeat("x", 9<<20) + `"}`
	if status, code := c.sends(t, a, c.authorization(t)); status != 413 || code != string(matrix.CodeTooLarge) {
		t.Errorf("a body of 9 MB is answered %d %s", status, code)
	}
	c.body = `{"device_keys":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 201)
	if status, code := c.sends(t, a, calls(f, a).authorization(t)); status != 400 || code != string(matrix.CodeNotJSON) {
		t.Errorf("a deep body is answered %d %s", status, code)
	}
}

// TestExpiredKeys: a server whose keys are over, by its own word, is not believed.
func TestExpiredKeys(t *testing.T) {
	t.Parallel()
	a, f := story.StartFederated(t, testkit.SQLite(t))[0], story.NewFugitive(t)
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(f.Keys(time.Now().Add(-time.Minute)))
	})
	c := calls(f, a)
	if status, code := c.sends(t, a, c.authorization(t)); status != 401 || code != string(matrix.CodeUnauthorized) {
		t.Errorf("signed with a key that is over: %d %s", status, code)
	}
}

// TestClosedFederation: servers that are not allowed are neither heard nor asked.
func TestClosedFederation(t *testing.T) {
	t.Parallel()
	friend, stranger := story.NewForeign(t), story.NewForeign(t)
	a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t), func(c *config.Config) {
		c.Federation.Allow = []string{string(friend.Name)}
	})
	for _, f := range []*story.Foreign{friend, stranger} {
		f.Handle("GET /_matrix/federation/v1/query/profile", func(w http.ResponseWriter, _ *http.Request) {
			f.Answers(w, 200, map[string]any{"displayname": "Bob", "avatar_url": nil})
		})
	}
	alice := a.User("alice")
	if got := alice.Reads(story.Path("profile", "@bob:"+string(friend.Name))); got.At("displayname").Text() != "Bob" || got.Has("avatar_url") {
		t.Errorf("a friend's profile is %s", got)
	}
	alice.IsRefused(matrix.CodeForbidden, 403, "GET", story.Path("profile", "@bob:"+string(stranger.Name)), nil)

	path := "/_matrix/federation/v1/query/profile?user_id=" + alice.ID
	if _, err := friend.Asks(a, "GET", path, nil); err != nil {
		t.Error(err)
	}
	_, err := stranger.Asks(a, "GET", path, nil)
	var refused *peer.Refused
	if !errors.As(err, &refused) || refused.Status != 403 || refused.Fault.Code != matrix.CodeForbidden {
		t.Errorf("a stranger: %v", err)
	}
}

// TestNoFederation: a server that stands alone has no door.
func TestNoFederation(t *testing.T) {
	t.Parallel()
	a := story.Start(t, testkit.SQLite(t), func(c *config.Config) { c.Federation.Enabled = false })
	alice := a.User("alice")
	alice.IsRefused(matrix.CodeUnrecognized, 404, "GET", "/_matrix/federation/v1/version", nil)
	alice.IsRefused(matrix.CodeUnrecognized, 404, "GET", "/_matrix/key/v2/server", nil)
	alice.IsRefused(matrix.CodeForbidden, 403, "GET", story.Path("profile", "@bob:example.org"), nil)
}

// TestForeignAnswersToUsers: what another server says wrongly is not handed on.
func TestForeignAnswersToUsers(t *testing.T) {
	t.Parallel()
	a, f := story.StartFederated(t, testkit.SQLite(t))[0], story.NewForeign(t)
	alice, host := a.User("alice"), string(f.Name)
	f.Handle("GET /_matrix/federation/v1/query/profile", func(w http.ResponseWriter, _ *http.Request) {
		f.Answers(w, 200, map[string]any{"displayname": []int{1}, "avatar_url": "mxc://a/b", "m.tz": nil})
	})
	f.Handle("GET /_matrix/federation/v1/query/directory", func(w http.ResponseWriter, _ *http.Request) {
		f.Answers(w, 200, map[string]any{"room_id": "nonsense", "servers": []string{"a b"}})
	})
	f.Handle("GET /_matrix/federation/v1/publicRooms", func(w http.ResponseWriter, _ *http.Request) {
		f.Answers(w, 200, map[string]any{"chunk": []any{1, map[string]any{"room_id": "x"}, map[string]any{"room_id": "!good:a.org", "name": "Good", "num_joined_members": 3}}})
	})
	f.Handle("GET /_matrix/federation/v1/media/download/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
		_, _ = io.WriteString(w, map[string]string{
			"cut":   "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n\r\nhalf",
			"one":   "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\n",
			"http":  "--b\r\n\r\n{}\r\n--b\r\nLocation: http://" + host + "/\r\n\r\n\r\n--b--\r\n",
			"about": "--b\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n--b\r\n\r\nx\r\n--b--\r\n",
		}[r.PathValue("id")])
	})
	if got := alice.Reads(story.Path("profile", "@bob:"+host)); got.Has("displayname") || got.Has("m.tz") || got.At("avatar_url").Text() != "mxc://a/b" {
		t.Errorf("the profile is %s", got)
	}
	alice.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("directory", "room", "#x:"+host), nil)
	if got := alice.Reads("/publicRooms?server=" + host); len(got.At("chunk").List()) != 1 || got.At("chunk", 0, "name").Text() != "Good" {
		t.Errorf("the directory is %s", got)
	}
	for _, id := range []string{"cut", "one", "http", "about"} {
		alice.IsRefused(matrix.CodeUnknown, 502, "GET", "/_matrix/client/v1/media/download/"+host+"/"+id, nil)
	}
}
