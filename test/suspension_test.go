package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestWhatSuspendedUsersMayDo goes through the lists of what the specification lets them do and what not.
func TestWhatSuspendedUsersMayDo(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice, bob := administrator(t, hs, "root"), hs.User("alice"), hs.User("bob")
		room, left, invited, other := alice.CreatesRoom(map[string]any{"room_alias_name": "ours"}), bob.CreatesRoom(), bob.CreatesRoom(), bob.CreatesRoom()
		bob.Joins(room)
		alice.Joins(left)
		bob.Invites(invited, alice)
		bob.Invites(other, alice)
		own, foreign := alice.Says(room, "of alice"), bob.Says(room, "of bob")
		second, third := alice.Says(room, "of alice too"), alice.Says(room, "and this")
		answer := bob.SendsEvent(room, "m.reaction", "r", map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": own, "key": "+"}})
		delay := alice.Must("PUT", story.Path("rooms", room, "send", "m.room.message", "later")+"?org.matrix.msc4140.delay=3600000", `{"msgtype":"m.text","body":"later"}`).At("delay_id").Text()

		root.Must("PUT", "/_matrix/client/v1/admin/suspend/"+alice.ID, `{"suspended":true}`)
		in := "/rooms/" + room + "/"
		for _, c := range map[string][3]string{
			"join":                    {"POST", "/join/" + left, `{}`},
			"accept an invite":        {"POST", "/rooms/" + invited + "/join", `{}`},
			"knock":                   {"POST", "/knock/" + other, `{}`},
			"make a room":             {"POST", "/createRoom", `{}`},
			"upgrade a room":          {"POST", in + "upgrade", `{"new_version":"12"}`},
			"send a message":          {"PUT", in + "send/m.room.message/1", `{"msgtype":"m.text","body":"hi"}`},
			"send a reaction":         {"PUT", in + "send/m.reaction/1", `{"m.relates_to":{"rel_type":"m.annotation","event_id":"` + foreign + `","key":"-"}}`},
			"send a message later":    {"PUT", in + "send/m.room.message/2?org.matrix.msc4140.delay=1000", `{"msgtype":"m.text","body":"hi"}`},
			"redact later":            {"PUT", in + "send/m.room.redaction/3?org.matrix.msc4140.delay=1000", `{"redacts":"` + own + `"}`},
			"send what was for later": {"POST", "/_matrix/client/v1/delayed_events/" + delay + "/send", `{}`},
			"set state":               {"PUT", in + "state/m.room.topic", `{"topic":"hi"}`},
			"invite":                  {"POST", in + "invite", `{"user_id":"` + root.ID + `"}`},
			"kick":                    {"POST", in + "kick", `{"user_id":"` + bob.ID + `"}`},
			"ban":                     {"POST", in + "ban", `{"user_id":"` + bob.ID + `"}`},
			"change the name":         {"PUT", "/profile/" + alice.ID + "/displayname", `{"displayname":"A"}`},
			"change the picture":      {"PUT", "/profile/" + alice.ID + "/avatar_url", `{"avatar_url":"mxc://localhost/a"}`},
			"redact what is another's": {
				"PUT", in + "redact/" + foreign + "/1", `{}`},
			"redact so by sending": {"PUT", in + "send/m.room.redaction/1", `{"redacts":"` + foreign + `"}`},
			"redact the unknown":   {"PUT", in + "redact/$nothing/1", `{}`},
			"redact what is about": {"PUT", in + "redact/" + own + "/2", `{"with_rel_types":["*"]}`},
			"take an alias":        {"DELETE", "/directory/room/%23ours:localhost", ``},
			"give an alias":        {"PUT", "/directory/room/%23mine:localhost", `{"room_id":"` + room + `"}`},
			"publish a room":       {"PUT", "/directory/list/room/" + room, `{"visibility":"public"}`},
			"type":                 {"PUT", in + "typing/" + alice.ID, `{"typing":true}`},
			"announce a file":      {"POST", "/_matrix/media/v1/create", ``},
			"upload a file":        {"POST", "/_matrix/media/v3/upload", `text`},
		} {
			var body any
			if c[2] != "" {
				body = c[2]
			}
			alice.IsRefused(matrix.CodeUserSuspended, 403, c[0], c[1], body)
		}
		socket := alice.Listens()
		for _, request := range []map[string]any{
			{"type": "send", "room_id": room, "event_type": "m.room.message", "txn_id": "s1", "content": map[string]any{"msgtype": "m.text", "body": "hi"}},
			{"type": "send", "room_id": room, "event_type": "m.room.redaction", "txn_id": "s2", "content": map[string]any{"redacts": foreign}},
			{"type": "typing", "room_id": room, "typing": true},
		} {
			if a := socket.Asks(request); a.At("error", "errcode").Text() != "M_USER_SUSPENDED" {
				t.Errorf("over a socket %v is answered by %s", request, a)
			}
		}

		// What they may.
		bob.Says(room, "can you read this?")
		alice.Sees(room, "can you read this?")
		alice.Messages(room, "dir=b")
		alice.Redacts(room, own, "mine")
		alice.Must("PUT", in+"send/m.room.redaction/4", `{"redacts":"`+second+`"}`)
		if a := socket.Asks(map[string]any{"type": "send", "room_id": room, "event_type": "m.room.redaction", "txn_id": "s3", "content": map[string]any{"redacts": third}}); a.At("result", "event_id").Text() == "" {
			t.Errorf("over a socket the redaction of an own event is answered by %s", a)
		}
		for _, event := range []string{own, second, third} {
			if e := bob.Reads(story.Path("rooms", room, "event", event)); e.At("content").Has("body") {
				t.Errorf("what was redacted is %s", e)
			}
		}
		for _, event := range []string{foreign, answer} {
			if e := bob.Reads(story.Path("rooms", room, "event", event)); len(e.At("content").Keys()) == 0 {
				t.Errorf("what is bob's is %s", e)
			}
		}
		alice.Leaves(left)
		alice.Leaves(invited) // refuses the invite
		alice.Forgets(left)
		phone := alice.LogsIn()
		phone.IsRefused(matrix.CodeUserSuspended, 403, "PUT", in+"send/m.room.message/9", `{"msgtype":"m.text","body":"hi"}`)
		alice.Must("PUT", "/sendToDevice/m.key.verification.request/1", map[string]any{"messages": map[string]any{alice.ID: map[string]any{phone.Device: map[string]any{}}}})
		alice.Must("POST", "/keys/query", map[string]any{"device_keys": map[string]any{alice.ID: []string{}}})
		alice.Must("POST", "/room_keys/version", map[string]any{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": map[string]any{"public_key": "abc", "signatures": map[string]any{}}})
		alice.Must("POST", "/_matrix/client/v1/delayed_events/"+delay+"/cancel", `{}`)
		phone.Must("POST", "/logout", `{}`)
		root.Must("PUT", "/_matrix/client/v1/admin/suspend/"+alice.ID, `{"suspended":false}`)
		alice.Says(room, "life goes on")
		root.Must("PUT", "/_matrix/client/v1/admin/suspend/"+alice.ID, `{"suspended":true}`)
		alice.Must("POST", "/account/deactivate", map[string]any{
			"auth": map[string]any{"type": "m.login.password", "password": alice.Password, "identifier": map[string]any{"type": "m.id.user", "user": alice.ID}},
		})
	})
}
