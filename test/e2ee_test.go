package test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// signer is a signing key of a user's device, or a cross-signing key.
type signer struct {
	t       *testing.T
	user    string
	private ed25519.PrivateKey
	public  string
	name    string // the device, or the public key
}

func newSigner(t *testing.T, user *story.User, device string) *signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{t: t, user: user.ID, private: private, public: canonicaljson.Base64(public), name: device}
	if device == "" {
		s.name = s.public
	}
	return s
}

func (s *signer) id() string { return "ed25519:" + s.name }

// signs adds a signature to an object.
func (s *signer) signs(object any) story.JSON {
	s.t.Helper()
	raw, err := canonicaljson.Marshal(object)
	if err != nil {
		s.t.Fatal(err)
	}
	if raw, err = canonicaljson.Sign(raw, s.user, s.id(), s.private); err != nil {
		s.t.Fatal(err)
	}
	signed, err := story.ParseJSON(raw)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// device is the device keys of the signer.
func (s *signer) device() story.JSON { return s.signs(s.unsignedDevice()) }

func (s *signer) unsignedDevice() map[string]any {
	return map[string]any{
		"user_id": s.user, "device_id": s.name, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys": map[string]string{s.id(): s.public, "curve25519:" + s.name: s.public},
	}
}

// cross is a cross-signing key.
func (s *signer) cross(usage string) map[string]any {
	return map[string]any{"user_id": s.user, "usage": []string{usage}, "keys": map[string]string{s.id(): s.public}}
}

// oneTime is a one-time key of the device.
func (s *signer) oneTime() story.JSON { return s.signs(map[string]any{"key": s.public}) }

// hasDevice uploads the keys of the user's device.
func hasDevice(t *testing.T, u *story.User) *signer {
	t.Helper()
	s := newSigner(t, u, u.Device)
	u.Must("POST", "/keys/upload", map[string]any{"device_keys": s.device()})
	return s
}

// lists says whether a sync's device lists have a user in a part.
func lists(part, user string) func(story.JSON) bool {
	return func(a story.JSON) bool { return slices.Contains(a.At("device_lists", part).Texts(), user) }
}

func queries(u *story.User, of ...string) story.JSON {
	devices := map[string][]string{}
	for _, user := range of {
		devices[user] = []string{}
	}
	return u.Must("POST", "/keys/query", map[string]any{"device_keys": devices}).JSON
}

func TestDeviceLists(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		hasDevice(t, bob)
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		begin := alice.Syncs()
		if begin.Has("device_lists") {
			t.Errorf("a first sync tells device lists: %s", begin.At("device_lists"))
		}
		from := alice.Since

		bob.Joins(room)
		alice.Waits("bob's devices", lists("changed", bob.ID))
		bob.Joins(other)
		bob.Must("POST", "/keys/upload", map[string]any{"one_time_keys": map[string]any{"org.example:1": "k"}})
		hasDevice(t, eve)
		alice.SeesMembership(other, bob, "join")
		if a := alice.SyncsFrom(alice.Since); a.Has("device_lists") {
			t.Errorf("nothing changed, and a sync tells %s", a.At("device_lists"))
		}
		bob.Syncs()
		phone := bob.LogsIn()
		hasDevice(t, phone)
		alice.Waits("bob's new device", lists("changed", bob.ID))
		bob.Waits("his own new device", lists("changed", bob.ID))
		phone.Must("POST", "/logout", `{}`)
		alice.Waits("the end of bob's device", lists("changed", bob.ID))

		bob.Leaves(other)
		alice.SeesMembership(other, bob, "leave")
		if a := alice.SyncsFrom(from); lists("left", bob.ID)(a) {
			t.Error("bob has left, though he shares a room")
		}
		if a := alice.Reads("/keys/changes?from=" + from + "&to=" + alice.Since); !slices.Equal(a.At("changed").Texts(), []string{bob.ID}) || len(a.At("left").Texts()) > 0 {
			t.Errorf("changes while bob is there: %s", a)
		}
		there := alice.Since
		alice.Leaves(room)
		alice.Waits("that she need not follow bob", lists("left", bob.ID))
		bob.Joins(other)
		alice.Waits("that she has to again", lists("changed", bob.ID))
		bob.Leaves(other)
		alice.Waits("that bob left", lists("left", bob.ID))
		hasDevice(t, bob.LogsIn())
		if a := alice.Syncs(); a.Has("device_lists") {
			t.Errorf("alice is told of who shares no room: %s", a.At("device_lists"))
		}
		if a := alice.Reads("/keys/changes?from=" + there + "&to=" + alice.Since); len(a.At("changed").Texts()) > 0 || !slices.Equal(a.At("left").Texts(), []string{bob.ID}) {
			t.Errorf("changes since they shared a room: %s", a)
		}
		alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", "/keys/changes?from=x&to="+there, nil)
		alice.IsRefused(matrix.CodeMissingParam, 400, "GET", "/keys/changes?from="+there, nil)
	})
}

// TestStrangersAreNotListed: who was only invited, or banned, learns nothing of who is in a room.
func TestStrangersAreNotListed(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, eve := hs.User("alice"), hs.User("eve")
		hasDevice(t, alice)
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat"})
		eve.Syncs()
		from := eve.Since
		alice.Invites(room, eve)
		eve.SeesInvite(room)
		eve.Leaves(room)
		alice.Bans(room, eve, "")
		hasDevice(t, alice.LogsIn())
		if a := eve.Syncs(); a.Has("device_lists") {
			t.Errorf("eve is told %s", a.At("device_lists"))
		}
		if a := eve.Reads("/keys/changes?from=" + from + "&to=" + eve.Since); len(a.At("changed").Texts())+len(a.At("left").Texts()) > 0 {
			t.Errorf("eve is told %s", a)
		}
	})
}

func TestSyncTellsKeyCounts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		counts := func(want int64, fallback int) {
			t.Helper()
			for _, a := range []story.JSON{alice.Syncs(), alice.Syncs(), alice.SyncsFrom("")} {
				c := a.At("device_one_time_keys_count")
				if !c.Has("signed_curve25519") || c.At("signed_curve25519").Int() != want || len(a.At("device_unused_fallback_key_types").Texts()) != fallback {
					t.Errorf("want %d keys and %d fallback keys: %s %s", want, fallback, c, a.At("device_unused_fallback_key_types"))
				}
				if !a.Has("device_unused_fallback_key_types") {
					t.Error("a sync has no list of fallback keys")
				}
			}
		}
		counts(0, 0)
		s := hasDevice(t, alice)
		alice.Must("POST", "/keys/upload", map[string]any{
			"one_time_keys": map[string]any{"signed_curve25519:1": s.oneTime()},
			"fallback_keys": map[string]any{"signed_curve25519:f": s.signs(map[string]any{"key": s.public, "fallback": true})},
		})
		counts(1, 1)
		claim := map[string]any{"one_time_keys": map[string]any{alice.ID: map[string]string{alice.Device: "signed_curve25519"}}}
		bob.Must("POST", "/keys/claim", claim)
		counts(0, 1)
		if a := bob.Must("POST", "/keys/claim", claim); !a.At("one_time_keys", alice.ID, alice.Device).Has("signed_curve25519:f") {
			t.Errorf("bob got %s", a)
		}
		counts(0, 0)
		for name, body := range map[string]string{
			"an algorithm that is none": `{"one_time_keys":{"@alice:localhost":{"X":1}}}`,
			"devices in a list":         `{"one_time_keys":{"@alice:localhost":["X"]}}`,
			"no keys":                   `{"one_time_keys":7}`,
		} {
			if a := bob.Does("POST", "/keys/claim", body); a.Status != 400 || a.At("errcode").Text() != string(matrix.CodeBadJSON) {
				t.Errorf("%s: %d %s", name, a.Status, a)
			}
		}
		bob.IsRefused(matrix.CodeInvalidParam, 400, "POST", "/keys/claim", `{"one_time_keys":{"alice":{"X":"signed_curve25519"}}}`)
		if a := bob.Does("POST", "/keys/claim", `{}`); a.Status != 400 {
			t.Errorf("nothing to claim: %d %s", a.Status, a)
		}
	})
}

func TestToDevice(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		phone := bob.LogsIn()
		send := func(txn, device, text string) {
			t.Helper()
			body := map[string]any{"messages": map[string]any{bob.ID: map[string]any{device: map[string]string{"text": text}}}}
			alice.Must("PUT", "/sendToDevice/org.example.test/"+txn, body)
		}
		texts := func(a story.JSON) (out []string) {
			for _, e := range a.At("to_device", "events").List() {
				if e.At("sender").Text() != alice.ID || e.At("type").Text() != "org.example.test" {
					t.Errorf("a message is %s", e)
				}
				out = append(out, e.At("content", "text").Text())
			}
			return out
		}
		is := func(got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("got the messages %q, want %q", got, want)
			}
		}
		bob.Syncs()
		begin := bob.Since
		send("1", bob.Device, "one")
		send("1", bob.Device, "one again") // the same transaction
		send("2", "*", "two")
		send("3", "GONE", "three")
		bob.Waits("a message", func(a story.JSON) bool { is(texts(a), "one", "two"); return true })
		is(texts(bob.SyncsFrom(begin)), "one", "two") // the answer was lost
		hs.Restart()
		is(texts(bob.SyncsFrom(begin)), "one", "two")
		is(texts(bob.Syncs()))
		is(texts(bob.SyncsFrom(begin))) // the token of the last answer covered them
		is(texts(phone.Syncs()), "two")
		for i := range 110 {
			send(fmt.Sprint("n", i), bob.Device, fmt.Sprint(i))
		}
		var all []string
		for a := bob.Syncs(); a.Has("to_device"); a = bob.Syncs() {
			if n := len(texts(a)); n > 100 {
				t.Errorf("%d messages in one answer", n)
			}
			all = append(all, texts(a)...)
		}
		for i := range 110 {
			if i >= len(all) || all[i] != fmt.Sprint(i) {
				t.Fatalf("the messages came as %q", all)
			}
		}
		const path = "/sendToDevice/org.example.test/bad"
		alice.IsRefused(matrix.CodeBadJSON, 400, "PUT", path, `{"messages":{"@bob:localhost":{"X":"text"}}}`)
		alice.IsRefused(matrix.CodeBadJSON, 400, "PUT", path, `{"messages":{"@bob:localhost":["X"]}}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", path, `{"messages":{"bob":{"X":{}}}}`)
		if a := alice.Does("PUT", path, `{}`); a.Status != 400 {
			t.Errorf("no messages: %d %s", a.Status, a)
		}
	})
}
