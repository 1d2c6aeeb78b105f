package test

import (
	"regexp"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// badCase is a request that has to be refused in one way.
type badCase struct {
	name, method, path, body string
	status                   int
	code                     matrix.Code
}

// long is a text that no identifier, name or key may be.
func long(n int) string { return strings.Repeat("x", n) }

// badInput are requests with something missing, of a wrong type, too large, out of range or malicious, by group of
// endpoints. R is a room, E an event in it, A and B are the users who are in it.
func badInput() map[string][]badCase {
	return map[string][]badCase{
		"registering": {
			{"name with a space", "POST", "/register", `{"username":"a b","password":"a good password","auth":{"type":"m.login.dummy"}}`, 400, matrix.CodeInvalidUsername},
			{"name too long", "POST", "/register", `{"username":"` + long(300) + `","password":"a good password","auth":{"type":"m.login.dummy"}}`, 400, matrix.CodeInvalidUsername},
			{"name taken", "POST", "/register", `{"username":"alice","password":"a good password","auth":{"type":"m.login.dummy"}}`, 400, matrix.CodeUserInUse},
			{"name of a wrong type", "POST", "/register", `{"username":7}`, 400, matrix.CodeBadJSON},
			{"password missing", "POST", "/register", `{"username":"new","auth":{"type":"m.login.dummy"}}`, 400, matrix.CodeMissingParam},
			{"password too short", "POST", "/register", `{"username":"new","password":"x","auth":{"type":"m.login.dummy"}}`, 400, matrix.CodeWeakPassword},
			{"auth of a wrong type", "POST", "/register", `{"username":"new","password":"a good password","auth":[]}`, 400, matrix.CodeBadJSON},
			{"availability of nothing", "GET", "/register/available", "", 400, matrix.CodeMissingParam},
			{"token of nothing", "GET", "/_matrix/client/v1/register/m.login.registration_token/validity", "", 400, matrix.CodeMissingParam},
		},
		"logging in": {
			{"type missing", "POST", "/login", `{}`, 400, matrix.CodeMissingParam},
			{"type unknown", "POST", "/login", `{"type":"m.login.magic"}`, 400, matrix.CodeUnknown},
			{"identifier missing", "POST", "/login", `{"type":"m.login.password","password":"x"}`, 400, matrix.CodeMissingParam},
			{"identifier of a wrong type", "POST", "/login", `{"type":"m.login.password","identifier":"alice","password":"x"}`, 400, matrix.CodeBadJSON},
			{"password missing", "POST", "/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"}}`, 400, matrix.CodeMissingParam},
			{"password wrong", "POST", "/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"wrong"}`, 403, matrix.CodeForbidden},
			{"device too long", "POST", "/login", `{"type":"m.login.password","device_id":"` + long(1000) + `","identifier":{"type":"m.id.user","user":"alice"},"password":"x"}`, 400, matrix.CodeInvalidParam},
			{"refresh without a token", "POST", "/refresh", `{}`, 400, matrix.CodeMissingParam},
			{"refresh by nonsense", "POST", "/refresh", `{"refresh_token":"x"}`, 401, matrix.CodeUnknownToken},
		},
		"profiles and devices": {
			{"value missing", "PUT", "/profile/A/displayname", `{}`, 400, matrix.CodeMissingParam},
			{"value of a wrong type", "PUT", "/profile/A/displayname", `{"displayname":[]}`, 400, matrix.CodeBadJSON},
			{"name too long", "PUT", "/profile/A/displayname", `{"displayname":"` + long(300) + `"}`, 400, matrix.CodeInvalidParam},
			{"profile too large", "PUT", "/profile/A/org.example.large", `{"org.example.large":"` + long(70_000) + `"}`, 400, matrix.CodeProfileTooLarge},
			{"key too long", "PUT", "/profile/A/org." + long(300), `{"org.` + long(300) + `":1}`, 400, matrix.CodeKeyTooLarge},
			{"profile of another", "PUT", "/profile/B/displayname", `{"displayname":"x"}`, 403, matrix.CodeForbidden},
			{"nobody's profile", "GET", "/profile/@nobody:localhost", "", 404, matrix.CodeNotFound},
			{"device unknown", "PUT", "/devices/NOTHING", `{"display_name":"x"}`, 404, matrix.CodeNotFound},
			{"devices of a wrong type", "POST", "/delete_devices", `{"devices":"ALL"}`, 400, matrix.CodeBadJSON},
			{"devices missing", "POST", "/delete_devices", `{}`, 400, matrix.CodeMissingParam},
		},
		"making rooms": {
			{"version unknown", "POST", "/createRoom", `{"room_version":"99"}`, 400, matrix.CodeUnsupportedRoomVersion},
			{"version of a wrong type", "POST", "/createRoom", `{"room_version":12}`, 400, matrix.CodeBadJSON},
			{"preset unknown", "POST", "/createRoom", `{"preset":"party"}`, 400, matrix.CodeInvalidParam},
			{"visibility unknown", "POST", "/createRoom", `{"visibility":"dim"}`, 400, matrix.CodeInvalidParam},
			{"alias with a colon", "POST", "/createRoom", `{"room_alias_name":"a:b"}`, 400, matrix.CodeInvalidParam},
			{"alias taken", "POST", "/createRoom", `{"room_alias_name":"taken"}`, 400, matrix.CodeRoomInUse},
			{"invite of nobody", "POST", "/createRoom", `{"invite":["nobody"]}`, 400, matrix.CodeInvalidParam},
			{"invite of an empty name", "POST", "/createRoom", `{"invite":[""]}`, 400, matrix.CodeInvalidParam},
			{"levels that are text", "POST", "/createRoom", `{"power_level_content_override":{"users_default":"high"}}`, 400, matrix.CodeBadJSON},
			{"state without a type", "POST", "/createRoom", `{"initial_state":[{"content":{}}]}`, 400, matrix.CodeBadJSON},
			{"upgrade to nothing", "POST", "/rooms/R/upgrade", `{"new_version":"99"}`, 400, matrix.CodeUnsupportedRoomVersion},
			{"upgrade without a version", "POST", "/rooms/R/upgrade", `{}`, 400, matrix.CodeMissingParam},
		},
		"memberships": {
			{"nobody invited", "POST", "/rooms/R/invite", `{}`, 400, matrix.CodeMissingParam},
			{"invited who is no user", "POST", "/rooms/R/invite", `{"user_id":"bob"}`, 400, matrix.CodeInvalidParam},
			{"invited who is in", "POST", "/rooms/R/invite", `{"user_id":"B"}`, 403, matrix.CodeForbidden},
			{"kicked who is not in", "POST", "/rooms/R/kick", `{"user_id":"@nobody:localhost"}`, 403, matrix.CodeForbidden},
			{"reason of a wrong type", "POST", "/rooms/R/kick", `{"user_id":"B","reason":7}`, 400, matrix.CodeBadJSON},
			{"unbanned who is not banned", "POST", "/rooms/R/unban", `{"user_id":"B"}`, 403, matrix.CodeBadState},
			{"joined what is no room", "POST", "/join/room", `{}`, 400, matrix.CodeInvalidParam},
			{"joined what is nowhere", "POST", "/join/%23nowhere:localhost", `{}`, 404, matrix.CodeNotFound},
			{"forgot where one is", "POST", "/rooms/R/forget", `{}`, 400, matrix.CodeUnknown},
		},
		"sending": {
			{"content too large", "PUT", "/rooms/R/send/m.room.message/1", `{"body":"` + long(70_000) + `"}`, 413, matrix.CodeTooLarge},
			{"content with a float", "PUT", "/rooms/R/send/m.room.message/1", `{"body":1.5}`, 400, matrix.CodeBadJSON},
			{"number too large", "PUT", "/rooms/R/send/m.room.message/1", `{"body":9007199254740992}`, 400, matrix.CodeBadJSON},
			{"type too long", "PUT", "/rooms/R/send/" + long(300) + "/1", `{}`, 413, matrix.CodeTooLarge},
			{"room unknown", "PUT", "/rooms/!nowhere:localhost/send/m.room.message/1", `{}`, 403, matrix.CodeForbidden},
			{"redaction of nothing", "PUT", "/rooms/R/redact/$nothing/1", `{}`, 404, matrix.CodeNotFound},
			{"redaction of no user", "POST", "/_matrix/client/unstable/org.matrix.msc4194/rooms/R/redact/user/nobody", `{}`, 400, matrix.CodeInvalidParam},
			{"redaction of none of a user", "POST", "/_matrix/client/unstable/org.matrix.msc4194/rooms/R/redact/user/@bob:localhost?limit=0", `{}`, 400, matrix.CodeInvalidParam},
			{"levels that are text", "PUT", "/rooms/R/state/m.room.power_levels", `{"users":{"A":"100"}}`, 400, matrix.CodeBadJSON},
			{"alias that is none", "PUT", "/rooms/R/state/m.room.canonical_alias", `{"alias":"alias"}`, 400, matrix.CodeInvalidParam},
			{"alias of no room", "PUT", "/rooms/R/state/m.room.canonical_alias", `{"alias":"#nowhere:localhost"}`, 400, matrix.CodeBadAlias},
			{"member who is none", "PUT", "/rooms/R/state/m.room.member/nobody", `{"membership":"invite"}`, 400, matrix.CodeInvalidParam},
			{"state of another user", "PUT", "/rooms/R/state/org.example/B", `{}`, 403, matrix.CodeForbidden},
		},
		"reading": {
			{"no direction", "GET", "/rooms/R/messages", "", 400, matrix.CodeMissingParam},
			{"odd direction", "GET", "/rooms/R/messages?dir=up", "", 400, matrix.CodeInvalidParam},
			{"token of nothing", "GET", "/rooms/R/messages?dir=b&from=nonsense", "", 400, matrix.CodeInvalidParam},
			{"limit below zero", "GET", "/rooms/R/messages?dir=b&limit=-1", "", 400, matrix.CodeInvalidParam},
			{"filter that is none", "GET", "/rooms/R/messages?dir=b&filter=%5B%5D", "", 400, matrix.CodeBadJSON},
			{"event unknown", "GET", "/rooms/R/event/$nothing", "", 404, matrix.CodeNotFound},
			{"context of nothing", "GET", "/rooms/R/context/$nothing", "", 404, matrix.CodeNotFound},
			{"state that is not there", "GET", "/rooms/R/state/org.example.none", "", 404, matrix.CodeNotFound},
			{"time missing", "GET", "/_matrix/client/v1/rooms/R/timestamp_to_event?dir=f", "", 400, matrix.CodeMissingParam},
			{"time that is none", "GET", "/_matrix/client/v1/rooms/R/timestamp_to_event?dir=f&ts=noon", "", 400, matrix.CodeInvalidParam},
			{"sync since nothing", "GET", "/sync?since=nonsense", "", 400, matrix.CodeInvalidParam},
			{"sync with an odd timeout", "GET", "/sync?timeout=soon", "", 400, matrix.CodeInvalidParam},
			{"room unknown", "GET", "/rooms/!nowhere:localhost/messages?dir=b", "", 403, matrix.CodeForbidden},
		},
		"receipts, typing, presence": {
			{"receipt of an odd kind", "POST", "/rooms/R/receipt/m.smelled/E", `{}`, 400, matrix.CodeInvalidParam},
			{"receipt for nothing", "POST", "/rooms/R/receipt/m.read/$nothing", `{}`, 404, matrix.CodeNotFound},
			{"thread of a wrong type", "POST", "/rooms/R/receipt/m.read/E", `{"thread_id":7}`, 400, matrix.CodeInvalidParam},
			{"thread without a name", "POST", "/rooms/R/receipt/m.read/E", `{"thread_id":""}`, 400, matrix.CodeInvalidParam},
			{"typing missing", "PUT", "/rooms/R/typing/A", `{}`, 400, matrix.CodeMissingParam},
			{"typing of a wrong type", "PUT", "/rooms/R/typing/A", `{"typing":"yes"}`, 400, matrix.CodeBadJSON},
			{"typing of another", "PUT", "/rooms/R/typing/B", `{"typing":true}`, 403, matrix.CodeForbidden},
			{"presence missing", "PUT", "/presence/A/status", `{}`, 400, matrix.CodeMissingParam},
			{"odd presence", "PUT", "/presence/A/status", `{"presence":"asleep"}`, 400, matrix.CodeInvalidParam},
		},
		"account data, tags, filters": {
			{"data of another", "PUT", "/user/B/account_data/org.example", `{}`, 403, matrix.CodeForbidden},
			{"data that the server writes", "PUT", "/user/A/account_data/m.push_rules", `{}`, 405, matrix.CodeBadJSON},
			{"data too large", "PUT", "/user/A/account_data/org.example", `{"a":"` + long(600<<10) + `"}`, 413, matrix.CodeTooLarge},
			{"data that is not there", "GET", "/user/A/account_data/org.example.none", "", 404, matrix.CodeNotFound},
			{"order out of range", "PUT", "/user/A/rooms/R/tags/u.work", `{"order":7}`, 400, matrix.CodeInvalidParam},
			{"order of a wrong type", "PUT", "/user/A/rooms/R/tags/u.work", `{"order":"first"}`, 400, matrix.CodeBadJSON},
			{"filter of a wrong type", "POST", "/user/A/filter", `{"room":[]}`, 400, matrix.CodeBadJSON},
			{"filter that is not there", "GET", "/user/A/filter/nothing", "", 404, matrix.CodeNotFound},
		},
		"directory and search": {
			{"alias of nothing", "PUT", "/directory/room/%23new:localhost", `{}`, 400, matrix.CodeMissingParam},
			{"alias of another server", "PUT", "/directory/room/%23new:example.org", `{"room_id":"R"}`, 400, matrix.CodeInvalidParam},
			{"alias that is none", "GET", "/directory/room/nothing", "", 400, matrix.CodeInvalidParam},
			{"visibility unknown", "PUT", "/directory/list/room/R", `{"visibility":"dim"}`, 400, matrix.CodeInvalidParam},
			{"limit of a wrong type", "POST", "/publicRooms", `{"limit":"all"}`, 400, matrix.CodeBadJSON},
			{"search for nothing", "POST", "/search", `{}`, 400, matrix.CodeMissingParam},
			{"search of a wrong type", "POST", "/search", `{"search_categories":[]}`, 400, matrix.CodeBadJSON},
			{"people without a term", "POST", "/user_directory/search", `{}`, 400, matrix.CodeMissingParam},
		},
		"push and keys": {
			{"pusher of an odd kind", "POST", "/pushers/set", `{"kind":"pigeon","app_id":"a","pushkey":"k","app_display_name":"A","device_display_name":"D","lang":"en","data":{}}`, 400, matrix.CodeInvalidParam},
			{"pusher without a key", "POST", "/pushers/set", `{"kind":"http","app_id":"a"}`, 400, matrix.CodeMissingParam},
			{"rule of an odd kind", "PUT", "/pushrules/global/odd/x", `{"actions":[]}`, 404, matrix.CodeUnrecognized},
			{"rule without actions", "PUT", "/pushrules/global/content/x", `{"pattern":"x"}`, 400, matrix.CodeMissingParam},
			{"rule that is not there", "DELETE", "/pushrules/global/content/none", "", 404, matrix.CodeNotFound},
			{"keys of a wrong type", "POST", "/keys/upload", `{"one_time_keys":[]}`, 400, matrix.CodeBadJSON},
			{"keys of nobody asked", "POST", "/keys/query", `{}`, 400, matrix.CodeMissingParam},
			{"keys of a wrong type asked", "POST", "/keys/query", `{"device_keys":[]}`, 400, matrix.CodeBadJSON},
			{"changes since nothing", "GET", "/keys/changes?from=x&to=y", "", 400, matrix.CodeInvalidParam},
			{"backup of an odd algorithm", "POST", "/room_keys/version", `{}`, 400, matrix.CodeMissingParam},
			{"backup that is not there", "GET", "/room_keys/version/77", "", 404, matrix.CodeNotFound},
			{"messages of a wrong type", "PUT", "/sendToDevice/org.example/1", `{"messages":[]}`, 400, matrix.CodeBadJSON},
		},
		"media": {
			{"file of nobody", "GET", "/_matrix/client/v1/media/download/localhost/nothing", "", 404, matrix.CodeNotFound},
			{"thumbnail without a size", "GET", "/_matrix/client/v1/media/thumbnail/localhost/nothing", "", 400, matrix.CodeMissingParam},
			{"thumbnail of a size below zero", "GET", "/_matrix/client/v1/media/thumbnail/localhost/nothing?width=-1&height=1", "", 400, matrix.CodeInvalidParam},
			{"path in an id", "GET", "/_matrix/client/v1/media/download/localhost/..%2F..%2Fetc%2Fpasswd", "", 404, matrix.CodeNotFound},
		},
	}
}

// TestBadInputIsRefusedAsSpecified asks everything in the table, and that nothing of it has changed the room.
func TestBadInputIsRefusedAsSpecified(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"room_alias_name": "taken"})
		bob.Joins(room)
		event := alice.Says(room, "hello")
		before := alice.Reads(story.Path("rooms", room, "state")).String() + alice.Messages(room, "dir=b&limit=100").At("chunk").String()
		values := strings.NewReplacer("/R/", "/"+room+"/", `"R"`, `"`+room+`"`, "/A/", "/"+alice.ID+"/", `"A"`, `"`+alice.ID+`"`,
			"/B/", "/"+bob.ID+"/", `"B"`, `"`+bob.ID+`"`)
		for group, cases := range badInput() {
			for _, c := range cases {
				path := c.path
				for from, to := range map[string]string{"R": room, "A": alice.ID, "B": bob.ID, "E": event} {
					if end, found := strings.CutSuffix(path, "/"+from); found {
						path = end + "/" + to
					}
				}
				var body any
				if c.body != "" {
					body = values.Replace(c.body)
				}
				a := alice.Does(c.method, values.Replace(path), body)
				if a.Status != c.status || a.At("errcode").Text() != string(c.code) || a.At("error").Text() == "" {
					t.Errorf("%s, %s: %s %.80s is answered %d %.200s, not %d %s", group, c.name, c.method, c.path, a.Status, a, c.status, c.code)
				}
			}
		}
		if after := alice.Reads(story.Path("rooms", room, "state")).String() + alice.Messages(room, "dir=b&limit=100").At("chunk").String(); ageless(after) != ageless(before) {
			t.Error("what was refused has changed the room")
		}
	})
}

// ageless is an answer without the ages of its events, which pass.
func ageless(answer string) string { return age.ReplaceAllString(answer, "") }

var age = regexp.MustCompile(`"age":\d+`)
