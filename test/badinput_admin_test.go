package test

import (
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// badAdminInput is what administrators get wrong, by group: R is a room, A a user, and each is asked as well by somebody
// who is no administrator.
func badAdminInput() map[string][]badCase {
	const v1, v2 = adminV1, adminV2
	return map[string][]badCase{
		"accounts": {
			{"account that is none", "PUT", v2 + "users/nobody", `{}`, 400, matrix.CodeInvalidParam},
			{"account of another server", "GET", v2 + "users/@a:elsewhere.org", "", 400, matrix.CodeInvalidParam},
			{"account that is not there", "GET", v2 + "users/@nobody:localhost", "", 404, matrix.CodeNotFound},
			{"password of a wrong type", "PUT", v2 + "users/A", `{"password":7}`, 400, matrix.CodeBadJSON},
			{"flag of a wrong type", "PUT", v1 + "users/A/admin", `{"admin":"yes"}`, 400, matrix.CodeBadJSON},
			{"flag missing", "PUT", v1 + "users/A/admin", `{}`, 400, matrix.CodeMissingParam},
			{"password missing", "POST", v1 + "reset_password/A", `{}`, 400, matrix.CodeMissingParam},
			{"lists from below zero", "GET", v2 + "users?from=-1", "", 400, matrix.CodeInvalidParam},
			{"lists by something odd", "GET", v2 + "users?order_by=luck", "", 400, matrix.CodeInvalidParam},
			{"devices of a wrong type", "POST", v2 + "users/A/delete_devices", `{"devices":"ALL"}`, 400, matrix.CodeBadJSON},
		},
		"moderation": {
			{"ban of nobody", "POST", v1 + "users/@nobody:localhost/shadow_ban", `{}`, 404, matrix.CodeNotFound},
			{"end of a ban of nobody", "DELETE", v1 + "users/@nobody:localhost/shadow_ban", "", 404, matrix.CodeNotFound},
			{"ban elsewhere", "POST", v1 + "users/@a:elsewhere.org/shadow_ban", `{}`, 400, matrix.CodeInvalidParam},
			{"limit below zero", "POST", v1 + "users/A/override_ratelimit", `{"messages_per_second":-1}`, 400, matrix.CodeInvalidParam},
			{"limit too large", "POST", v1 + "users/A/override_ratelimit", `{"messages_per_second":1,"burst_count":1000001}`, 400, matrix.CodeInvalidParam},
			{"limit of a wrong type", "POST", v1 + "users/A/override_ratelimit", `{"messages_per_second":"1"}`, 400, matrix.CodeBadJSON},
			{"limit of half a message", "POST", v1 + "users/A/override_ratelimit", `{"messages_per_second":0.5}`, 400, matrix.CodeBadJSON},
			{"limit of nobody", "GET", v1 + "users/@nobody:localhost/override_ratelimit", "", 404, matrix.CodeNotFound},
			{"limit of nobody dropped", "DELETE", v1 + "users/@nobody:localhost/override_ratelimit", "", 404, matrix.CodeNotFound},
			{"redactions without rooms", "POST", v1 + "user/A/redact", `{}`, 400, matrix.CodeMissingParam},
			{"redactions in what is no room", "POST", v1 + "user/A/redact", `{"rooms":["room"]}`, 400, matrix.CodeInvalidParam},
			{"no redactions", "POST", v1 + "user/A/redact", `{"rooms":[],"limit":0}`, 400, matrix.CodeInvalidParam},
			{"counts since text", "GET", v1 + "users/A/sent_invite_count?from_ts=now", "", 400, matrix.CodeInvalidParam},
			{"counts since nothing", "GET", v1 + "users/A/cumulative_joined_room_count", "", 400, matrix.CodeMissingParam},
		},
		"reports": {
			{"report that is none", "GET", v1 + "user_reports/x", "", 400, matrix.CodeInvalidParam},
			{"report that is not there", "DELETE", v1 + "user_reports/99", "", 404, matrix.CodeNotFound},
			{"list of below zero", "GET", v1 + "room_reports?limit=-1", "", 400, matrix.CodeInvalidParam},
			{"odd direction", "GET", v1 + "event_reports?dir=up", "", 400, matrix.CodeInvalidParam},
			{"number too large", "GET", v1 + "event_reports?from=99999999999999999999", "", 400, matrix.CodeInvalidParam},
		},
		"rooms": {
			{"deletion of what is no room", "DELETE", v2 + "rooms/room", `{}`, 400, matrix.CodeInvalidParam},
			{"deletion of nothing", "DELETE", v2 + "rooms/!nowhere:localhost", `{}`, 404, matrix.CodeNotFound},
			{"deletion by a wrong type", "DELETE", v2 + "rooms/R", `{"purge":"yes"}`, 400, matrix.CodeBadJSON},
			{"successor of nobody", "DELETE", v2 + "rooms/R", `{"new_room_user_id":"@nobody:localhost"}`, 404, matrix.CodeNotFound},
			{"purge up to nothing", "POST", v1 + "purge_history/R", `{}`, 400, matrix.CodeMissingParam},
			{"purge up to text", "POST", v1 + "purge_history/R", `{"purge_up_to_ts":"now"}`, 400, matrix.CodeBadJSON},
			{"block of a wrong type", "PUT", v1 + "rooms/R/block", `{"block":1}`, 400, matrix.CodeBadJSON},
			{"join of nobody", "POST", v1 + "join/R", `{"user_id":"@nobody:localhost"}`, 404, matrix.CodeNotFound},
			{"join without a user", "POST", v1 + "join/R", `{}`, 400, matrix.CodeMissingParam},
			{"ends of nothing", "GET", v1 + "rooms/!nowhere:localhost/forward_extremities", "", 404, matrix.CodeNotFound},
			{"ends of what is no room", "DELETE", v1 + "rooms/room/forward_extremities", "", 400, matrix.CodeInvalidParam},
			{"space of below zero", "GET", v1 + "rooms/R/hierarchy?limit=-1", "", 400, matrix.CodeInvalidParam},
		},
		"files": {
			{"file of nothing", "POST", v1 + "media/protect/nothing", `{}`, 404, matrix.CodeNotFound},
			{"path in an id", "POST", v1 + "media/unprotect/..%2F..%2Fetc", `{}`, 404, matrix.CodeNotFound},
			{"server that is none", "GET", v1 + "media/no%20server/abc", "", 400, matrix.CodeInvalidParam},
			{"room that is none", "POST", v1 + "room/room/media/quarantine", `{}`, 400, matrix.CodeInvalidParam},
			{"room that is not there", "POST", v1 + "room/!nowhere:localhost/media/quarantine", `{}`, 404, matrix.CodeNotFound},
			{"user who is not there", "POST", v1 + "user/@nobody:localhost/media/quarantine", `{}`, 404, matrix.CodeNotFound},
			{"cache before text", "POST", v1 + "purge_media_cache?before_ts=now", `{}`, 400, matrix.CodeInvalidParam},
			{"cache before nothing", "POST", v1 + "purge_media_cache", `{}`, 400, matrix.CodeMissingParam},
			{"cache before all times", "POST", v1 + "purge_media_cache?before_ts=-1", `{}`, 400, matrix.CodeInvalidParam},
			{"list from text", "GET", v1 + "room/R/media?from=first", "", 400, matrix.CodeInvalidParam},
		},
		"tokens and notices": {
			{"token too long", "POST", v1 + "registration_tokens/new", `{"token":"` + long(200) + `"}`, 400, matrix.CodeInvalidParam},
			{"token that is not there", "GET", v1 + "registration_tokens/nothing", "", 404, matrix.CodeNotFound},
			{"notice to nobody", "POST", v1 + "send_server_notice", `{"user_id":"@nobody:localhost","content":{}}`, 404, matrix.CodeNotFound},
			{"notice of nothing", "POST", v1 + "send_server_notice", `{"user_id":"A"}`, 400, matrix.CodeMissingParam},
		},
	}
}

// TestBadInputOfAdministratorsIsRefused asks everything in the table, and that nothing of it is open to others.
func TestBadInputOfAdministratorsIsRefused(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, alice := administrator(t, hs, "root"), hs.User("alice")
		room := alice.CreatesRoom()
		values := strings.NewReplacer("/R", "/"+room, "/A", "/"+alice.ID, `"A"`, `"`+alice.ID+`"`)
		for group, cases := range badAdminInput() {
			for _, c := range cases {
				var body any
				if c.body != "" {
					body = strings.ReplaceAll(c.body, `"A"`, `"`+alice.ID+`"`)
				}
				path := values.Replace(c.path)
				a := root.Does(c.method, path, body)
				if a.Status != c.status || a.At("errcode").Text() != string(c.code) || a.At("error").Text() == "" {
					t.Errorf("%s, %s: %s %.80s is answered %d %.200s, not %d %s", group, c.name, c.method, path, a.Status, a, c.status, c.code)
				}
				if a := alice.Does(c.method, path, body); a.Status != 403 || a.At("errcode").Text() != string(matrix.CodeForbidden) {
					t.Errorf("%s, %s: somebody else is answered %d %.200s", group, c.name, a.Status, a)
				}
			}
		}
		alice.Says(room, "nothing has happened")
		if u := root.Reads(adminV2 + "users/" + alice.ID); u.At("shadow_banned").Bool() || u.At("admin").Bool() || u.At("deactivated").Bool() {
			t.Errorf("alice is %s", u)
		}
	})
}
