package clientapi_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		alice := token(w.user("alice"))

		turn := w.ok(alice, "GET", "/voip/turnServer", nil)
		end, user, _ := strings.Cut(turn.At("username").Text(), ":")
		mac := hmac.New(sha1.New, []byte("s"))
		mac.Write([]byte(turn.At("username").Text()))
		until, err := strconv.ParseInt(end, 10, 64)
		if err != nil || user != "@alice:example.org" || time.Until(time.Unix(until, 0)) > time.Hour ||
			turn.At("password").Text() != base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			t.Errorf("the TURN credentials are wrong: %s", turn)
		}

		proof := w.ok(alice, "POST", "/user/@alice:example.org/openid/request_token", object{})
		if proof.At("matrix_server_name").Text() != "example.org" || proof.At("token_type").Text() != "Bearer" {
			t.Errorf("%s", proof)
		}
		who, ok, err := w.accounts.OpenIDUser(t.Context(), proof.At("access_token").Text())
		if err != nil || !ok || who != "@alice:example.org" {
			t.Errorf("the OpenID token tells %q, %v, %v", who, ok, err)
		}
		if _, ok, _ := w.accounts.OpenIDUser(t.Context(), alice); ok {
			t.Error("an access token is taken as an OpenID token")
		}
		w.refused(401, matrix.CodeUnknownToken, proof.At("access_token").Text(), "GET", "/account/whoami", nil)
		w.refused(403, matrix.CodeForbidden, alice, "POST", "/user/@bob:example.org/openid/request_token", object{})

		rtc := w.ok(alice, "GET", "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", nil)
		if !strings.Contains(rtc.String(), `"livekit_service_url":"https://rtc.example.org"`) {
			t.Errorf("%s", rtc)
		}
	})
}
