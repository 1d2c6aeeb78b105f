package test

import (
	"fmt"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func backedUp(verified bool, first, forwarded int, text string) map[string]any {
	return map[string]any{
		"is_verified": verified, "first_message_index": first, "forwarded_count": forwarded, "session_data": map[string]string{"text": text},
	}
}

func TestKeyBackup(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, eve := hs.User("alice"), hs.User("eve")
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", "/room_keys/version", nil)
		begin := func() string {
			t.Helper()
			return alice.Must("POST", "/room_keys/version", `{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"x"}}`).At("version").Text()
		}
		old := begin()
		v := begin()
		const room, other = "!one:localhost", "!two:localhost"
		keys := func(version string, rest ...string) string {
			return story.Path(append([]string{"room_keys", "keys"}, rest...)...) + "?version=" + version
		}
		etag := ""
		stored := func(a *story.Answer, count int64, changes bool) {
			t.Helper()
			if now := a.At("etag").Text(); a.At("count").Int() != count || (now != etag) != changes {
				t.Errorf("stored: %s; the etag was %s, want %d keys", a, etag, count)
			} else {
				etag = now
			}
		}
		stored(alice.Must("PUT", keys(v, room, "s/1+="), backedUp(false, 5, 5, "first")), 1, true)
		for i, c := range []struct {
			key     map[string]any
			changes bool
		}{
			{backedUp(false, 5, 5, "the same"), false},
			{backedUp(false, 6, 0, "later"), false},
			{backedUp(false, 5, 4, "less often forwarded"), true},
			{backedUp(false, 4, 9, "earlier"), true},
			{backedUp(true, 9, 9, "verified"), true},
			{backedUp(false, 0, 0, "not verified"), false},
			{backedUp(true, 9, 9, "no better"), false},
		} {
			stored(alice.Must("PUT", keys(v, room, "s/1+="), c.key), 1, c.changes)
			if got := alice.Reads(keys(v, room, "s/1+=")).At("session_data", "text").Text(); (got == c.key["session_data"].(map[string]string)["text"]) != c.changes {
				t.Errorf("step %d: the backup has %q", i, got)
			}
		}
		stored(alice.Must("PUT", keys(v, room), map[string]any{"sessions": map[string]any{"s2": backedUp(true, 0, 0, ""), "s/1+=": backedUp(false, 0, 0, "")}}), 2, true)
		stored(alice.Must("PUT", keys(v), map[string]any{"rooms": map[string]any{
			room:  map[string]any{"sessions": map[string]any{"s3": backedUp(true, 0, 0, "")}},
			other: map[string]any{"sessions": map[string]any{"s1": backedUp(true, 0, 0, "")}},
		}}), 4, true)
		if a := alice.Reads(keys(v)); len(a.At("rooms").Keys()) != 2 || len(a.At("rooms", room, "sessions").Keys()) != 3 {
			t.Errorf("all keys: %s", a)
		}
		if a := alice.Reads(keys(v, other)); len(a.At("sessions").Keys()) != 1 {
			t.Errorf("keys of a room: %s", a)
		}
		if a := alice.Reads(keys(v, "!none:localhost")); !a.Has("sessions") || len(a.At("sessions").Keys()) != 0 {
			t.Errorf("keys of a room without keys: %s", a)
		}
		if a := alice.Reads("/room_keys/version"); a.At("count").Int() != 4 || a.At("etag").Text() != etag || a.At("version").Text() != v {
			t.Errorf("the backup: %s", a)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", keys(v, room, "none"), nil)
		eve.IsRefused(matrix.CodeNotFound, 404, "GET", keys(v), nil)
		if a := alice.IsRefused(matrix.CodeWrongRoomKeysVersion, 403, "PUT", keys(old, room, "s1"), backedUp(true, 0, 0, "")); a.At("current_version").Text() != v {
			t.Errorf("a wrong version: %s", a)
		}
		stored(alice.Must("DELETE", keys(v, room, "s2"), nil), 3, true)
		stored(alice.Must("DELETE", keys(v, room, "s2"), nil), 3, false)
		stored(alice.Must("DELETE", keys(v, room), nil), 1, true)
		stored(alice.Must("DELETE", keys(v), nil), 0, true)

		version := "/room_keys/version/" + v
		alice.Must("PUT", version, fmt.Sprintf(`{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"y"},"version":%q}`, v))
		if a := alice.Reads(version); a.At("auth_data", "public_key").Text() != "y" {
			t.Errorf("the backup after a change: %s", a)
		}
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", version, `{"algorithm":"org.example.other","auth_data":{}}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", version, `{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{},"version":"77"}`)
		alice.Must("DELETE", version, nil)
		alice.Must("DELETE", version, nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", version, nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "PUT", keys(v, room, "s1"), backedUp(true, 0, 0, ""))
		if a := alice.Reads("/room_keys/version"); a.At("version").Text() != old {
			t.Errorf("the current backup is %s", a)
		}
		if again := begin(); again == v {
			t.Error("the version of a deleted backup is given again")
		}
	})
}

func TestBadBackupsAreRefused(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice := hs.User("alice")
	alice.Must("POST", "/room_keys/version", `{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{}}`)
	key := story.Path("room_keys", "keys", "!r:localhost", "s") + "?version=1"
	for name, c := range map[string]struct {
		method, path, body string
		code               matrix.Code
		status             int
	}{
		"no algorithm":       {"POST", "/room_keys/version", `{"auth_data":{}}`, "", 400},
		"auth_data is text":  {"POST", "/room_keys/version", `{"algorithm":"a","auth_data":"x"}`, matrix.CodeBadJSON, 400},
		"no such version":    {"GET", "/room_keys/version/x", "", matrix.CodeNotFound, 404},
		"a version below 1":  {"DELETE", "/room_keys/version/0", "", matrix.CodeNotFound, 404},
		"never there":        {"DELETE", "/room_keys/version/9", "", matrix.CodeNotFound, 404},
		"no version":         {"GET", "/room_keys/keys", "", matrix.CodeMissingParam, 400},
		"no members":         {"PUT", key, `{}`, matrix.CodeBadJSON, 400},
		"a wrong type":       {"PUT", key, `{"first_message_index":"1","forwarded_count":0,"is_verified":true,"session_data":{}}`, matrix.CodeBadJSON, 400},
		"below 0":            {"PUT", key, `{"first_message_index":-1,"forwarded_count":0,"is_verified":true,"session_data":{}}`, matrix.CodeInvalidParam, 400},
		"session_data":       {"PUT", key, `{"first_message_index":1,"forwarded_count":0,"is_verified":true,"session_data":[]}`, matrix.CodeBadJSON, 400},
		"no room":            {"PUT", "/room_keys/keys/room/s?version=1", `{"first_message_index":1,"forwarded_count":0,"is_verified":true,"session_data":{}}`, matrix.CodeInvalidParam, 400},
		"no room in a batch": {"PUT", "/room_keys/keys?version=1", `{"rooms":{"room":{"sessions":{}}}}`, matrix.CodeInvalidParam, 400},
		"rooms in a list":    {"PUT", "/room_keys/keys?version=1", `{"rooms":[]}`, matrix.CodeBadJSON, 400},
	} {
		t.Run(name, func(t *testing.T) {
			var body any
			if c.body != "" {
				body = c.body
			}
			a := alice.Does(c.method, c.path, body)
			if a.Status != c.status || c.code != "" && a.At("errcode").Text() != string(c.code) {
				t.Errorf("got %d %s, want %d %s", a.Status, a, c.status, c.code)
			}
		})
	}
}

func TestDehydratedDevice(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		const path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", path, nil)
		dehydrate := func(id string) {
			t.Helper()
			s := newSigner(t, alice, id)
			keys := s.unsignedDevice()
			keys["dehydrated"] = true
			a := alice.Must("PUT", path, map[string]any{
				"device_id": id, "device_data": map[string]string{"algorithm": "x"}, "initial_device_display_name": "asleep",
				"device_keys": s.signs(keys), "one_time_keys": map[string]any{"signed_curve25519:1": s.oneTime()},
			})
			if a.At("device_id").Text() != id {
				t.Errorf("put: %s", a)
			}
		}
		dehydrate("FIRST")
		dehydrate("SECOND")
		if a := alice.Reads(path); a.At("device_id").Text() != "SECOND" || a.At("device_data", "algorithm").Text() != "x" {
			t.Errorf("got %s", a)
		}
		devices := queries(bob, alice.ID).At("device_keys", alice.ID)
		if devices.Has("FIRST") || !devices.At("SECOND", "dehydrated").Bool() || devices.At("SECOND", "unsigned", "device_display_name").Text() != "asleep" {
			t.Errorf("alice's devices are %s", devices)
		}
		bob.Must("POST", "/keys/claim", map[string]any{"one_time_keys": map[string]any{alice.ID: map[string]string{"SECOND": "signed_curve25519"}}})
		for i := range 120 {
			body := map[string]any{"messages": map[string]any{alice.ID: map[string]any{"SECOND": map[string]int{"n": i}}}}
			bob.Must("PUT", fmt.Sprintf("/sendToDevice/m.room.encrypted/%d", i), body)
		}
		for range 2 { // a client that was interrupted begins anew
			got, next := 0, ""
			for {
				a := alice.Must("POST", path+"/SECOND/events", map[string]string{"next_batch": next})
				for _, e := range a.At("events").List() {
					if e.At("content", "n").Int() != int64(got) {
						t.Fatalf("message %d is %s", got, e)
					}
					got++
				}
				if next = a.At("next_batch").Text(); len(a.At("events").List()) == 0 {
					break
				}
			}
			if got != 120 {
				t.Errorf("%d of 120 messages", got)
			}
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", path+"/FIRST/events", `{}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", path+"/SECOND/events", `{"next_batch":"x"}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", path, `{"device_id":"X","device_data":{}}`)
		alice.IsRefused(matrix.CodeBadJSON, 400, "PUT", path, `{"device_id":"X","device_data":[]}`)
		alice.Must("DELETE", path, nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "DELETE", path, nil)
		if devices := queries(bob, alice.ID).At("device_keys", alice.ID); len(devices.Keys()) != 0 {
			t.Errorf("alice's devices are %s", devices)
		}
	})
}
