package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// server is a router behind a real socket.
type server struct {
	*httptest.Server
	t *testing.T
}

func start(t *testing.T, o httpapi.Options, routes func(*httpapi.Router)) *server {
	t.Helper()
	r := httpapi.New(o)
	routes(r)
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return &server{s, t}
}

// answer is what came back; its body is not compressed any more.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *server) do(method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	path, req.URL.RawQuery, _ = strings.Cut(path, "?")
	req.URL.Opaque = "//" + req.URL.Host + path // sent as it is written here
	if body == "" {
		req.Body = nil
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (s *server) want(a answer, status int, code matrix.Code) {
	s.t.Helper()
	var e struct {
		Code matrix.Code `json:"errcode"`
		Text string      `json:"error"`
	}
	_ = json.Unmarshal([]byte(a.body), &e)
	if a.status != status || e.Code != code {
		s.t.Errorf("the answer is %d %s, not %d %s", a.status, a.body, status, code)
	}
	if code != "" && (e.Text == "" || a.header.Get("Content-Type") != "application/json") {
		s.t.Errorf("not a standard error: %s %s", a.header.Get("Content-Type"), a.body)
	}
	if a.header.Get("Access-Control-Allow-Origin") != "*" {
		s.t.Error("the answer has no CORS headers")
	}
}

type anyRequest struct {
	Room    matrix.RoomID       `path:"roomID"`
	Key     string              `path:"key"`
	Limit   *int                `query:"limit"`
	Full    bool                `query:"full"`
	Via     []string            `query:"via"`
	User    matrix.UserID       `json:"user_id"`
	Reason  string              `json:"reason"`
	Names   map[string]string   `json:"names"`
	Nested  *struct{ A string } `json:"nested"`
	Must    string              `json:"must" required:"true"`
	Custom  json.RawMessage     `json:"custom"`
	Content string              `header:"Content-Type"`
}

// echo answers with the request as it was decoded.
func echo(_ context.Context, _ *httpapi.Caller, q *anyRequest) (*anyRequest, error) { return q, nil }

func TestRequestsAreDecoded(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{}, func(r *httpapi.Router) {
		r.Handle("PUT", "/_matrix/client/v3/rooms/{roomID}/x/{key}", httpapi.Open(echo))
	})
	const path = "/_matrix/client/v3/rooms/%21a%2Fb:example.org/x/"
	const good = `{"must":"<&>"}`

	a := s.do("PUT", path+"k%25%2F%C3%A9?limit=3&full=true&via=a&via=b", `{"must":"<&>","user_id":"@u:h","REASON":"x","names":{"a":"b"},"custom":{"z":1}}`, "Content-Type", "text/odd")
	var q anyRequest
	if err := json.Unmarshal([]byte(a.body), &struct{ *anyRequest }{&q}); err != nil || a.status != 200 {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	for _, part := range []string{`"Room":"!a/b:example.org"`, `"Key":"k%/é"`, `"Limit":3`, `"Full":true`, `"Via":["a","b"]`, `"user_id":"@u:h"`,
		`"reason":""`, `"must":"<&>"`, `"Content":"text/odd"`, `"custom":{"z":1}`} {
		if !strings.Contains(a.body, part) {
			t.Errorf("%s is missing in %s", part, a.body)
		}
	}

	tests := []struct {
		name, path, body string
		status           int
		code             matrix.Code
	}{
		{"good", path + "k", good, 200, ""},
		{"room id malformed", "/_matrix/client/v3/rooms/nothing/x/k", good, 400, matrix.CodeInvalidParam},
		{"segment is not UTF-8", path + "%ff", good, 400, matrix.CodeInvalidParam},
		{"segment with NUL", path + "a%00", good, 400, matrix.CodeInvalidParam},
		{"query is not a number", path + "k?limit=x", good, 400, matrix.CodeInvalidParam},
		{"query is not a boolean", path + "k?full=perhaps", good, 400, matrix.CodeInvalidParam},
		{"query with NUL", path + "k?via=%00", good, 400, matrix.CodeInvalidParam},
		{"broken query", path + "k?limit=%zz", good, 400, matrix.CodeInvalidParam},
		{"not JSON", path + "k", `{"must"`, 400, matrix.CodeNotJSON},
		{"two values", path + "k", `{} {}`, 400, matrix.CodeNotJSON},
		{"not UTF-8", path + "k", "{\"must\":\"\xff\"}", 400, matrix.CodeNotJSON},
		{"a key twice", path + "k", `{"must":"","a":{"b":1,"b":1}}`, 400, matrix.CodeNotJSON},
		{"nested deeply", path + "k", `{"must":"","a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, 400, matrix.CodeNotJSON},
		{"a float without end", path + "k", `{"must":"","a":-1e400}`, 400, matrix.CodeNotJSON},
		{"an integer without end", path + "k", `{"must":"","a":-` + strings.Repeat("9", 309) + `}`, 400, matrix.CodeNotJSON},
		{"a large integer", path + "k", `{"must":"\\\"","a":` + strings.Repeat("9", 308) + `}`, 200, ""},
		{"digits in a text", path + "k", `{"must":"\"` + strings.Repeat("9", 400) + `"}`, 200, ""},
		{"half a letter", path + "k", `{"must":"\ud800"}`, 400, matrix.CodeNotJSON},
		{"not an object", path + "k", `["must"]`, 400, matrix.CodeBadJSON},
		{"wrong type", path + "k", `{"must":1}`, 400, matrix.CodeBadJSON},
		{"wrong type inside", path + "k", `{"must":"","nested":{"A":1}}`, 400, matrix.CodeBadJSON},
		{"NUL in a member", path + "k", `{"must":"a\u0000"}`, 400, matrix.CodeBadJSON},
		{"NUL in a name", path + "k", `{"must":"","names":{"\u0000":"x"}}`, 400, matrix.CodeBadJSON},
		{"member missing", path + "k", `{}`, 400, matrix.CodeMissingParam},
		{"member null", path + "k", `{"must":null}`, 400, matrix.CodeMissingParam},
		{"no body", path + "k", ``, 400, matrix.CodeMissingParam},
		{"user id malformed", path + "k", `{"must":"","user_id":"u"}`, 400, matrix.CodeInvalidParam},
		{"too large", path + "k", `{"must":"` + strings.Repeat("x", httpapi.DefaultBodyLimit) + `"}`, 413, matrix.CodeTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			(&server{s.Server, t}).want(s.do("PUT", test.path, test.body), test.status, test.code)
		})
	}
}

func TestWholeBody(t *testing.T) {
	t.Parallel()
	type request struct {
		Whole json.RawMessage `body:"whole"`
		A     int             `json:"a"`
	}
	s := start(t, httpapi.Options{}, func(r *httpapi.Router) {
		r.Handle("PUT", "/whole", httpapi.Open(func(_ context.Context, _ *httpapi.Caller, q *request) (*json.RawMessage, error) {
			if q.A != 1 {
				return nil, errors.New("the member is not there")
			}
			return &q.Whole, nil
		}))
	})
	if a := s.do("PUT", "/whole", `{"b":1.50,"a":1}`); a.body != `{"b":1.50,"a":1}` {
		t.Errorf("the body came back as %s", a.body)
	}
	s.want(s.do("PUT", "/whole", ""), 400, matrix.CodeNotJSON)
	s.want(s.do("PUT", "/whole", "null"), 400, matrix.CodeBadJSON)
}

type nothing struct{}

func TestRouting(t *testing.T) {
	t.Parallel()
	type request struct {
		Key string `path:"key"`
	}
	named := func(name string) httpapi.Handler {
		return httpapi.Open(func(_ context.Context, _ *httpapi.Caller, q *request) (*string, error) {
			answer := name + "(" + q.Key + ")"
			return &answer, nil
		})
	}
	s := start(t, httpapi.Options{}, func(r *httpapi.Router) {
		r.Handle("GET", "/_matrix/client/v3/profile/{user}/{key}", named("any"))
		r.Handle("DELETE", "/_matrix/client/v3/profile/{user}/{key}", named("delete"))
		r.Handle("GET", "/_matrix/client/v3/profile/{user}/displayname", named("name"))
		r.Handle("GET", "/_matrix/client/v3/state/{key}", named("state"), httpapi.TrailingSlash())
		r.Handle("GET", "/_matrix/client/v3/pushrules/", named("rules"))
		r.Handle("GET", "/_matrix/client/v3/pushrules/global/{key}", named("rule"))
		r.Handle("GET", "/_matrix/client/versions", named("versions"))
		r.Handle("GET", "/", named("root"))
	})
	for _, test := range []struct{ method, path, want string }{
		{"GET", "/_matrix/client/v3/profile/@u:h/avatar_url", `"any(avatar_url)"`},
		{"GET", "/_matrix/client/v3/profile/@u:h/displayname", `"name()"`},
		{"DELETE", "/_matrix/client/v3/profile/@u:h/displayname", `"delete(displayname)"`},
		{"GET", "/_matrix/client/v3/state/a%2Fb", `"state(a/b)"`},
		{"GET", "/_matrix/client/v3/state/..%2F", `"state(../)"`},
		{"GET", "/_matrix/client/v3/state/a/", `"state(a)"`},
		{"GET", "/_matrix/client/v3/pushrules/", `"rules()"`},
		{"GET", "/_matrix/client/v3/pushrules/global/x", `"rule(x)"`},
		{"GET", "/_matrix/client/versions", `"versions()"`},
		{"GET", "/", `"root()"`},
	} {
		if a := s.do(test.method, test.path, ""); a.status != 200 || a.body != test.want {
			t.Errorf("%s %s is answered %d %s, not %s", test.method, test.path, a.status, a.body, test.want)
		}
	}
	for _, path := range []string{"/_matrix/client/v3/pushrules", "/_matrix/client/v3/nothing", "/_matrix/client/versions/", "/_matrix//client/versions",
		"/_matrix/client/v3/profile//displayname", "/_matrix/client/v3/profile/@u:h/a/b", "/x", "/_matrix/client/v3/state/../x"} {
		s.want(s.do("GET", path, ""), 404, matrix.CodeUnrecognized)
	}
	s.want(s.do("PUT", "/_matrix/client/versions", "{}"), 405, matrix.CodeUnrecognized)
	s.want(s.do("PATCH", "/_matrix/client/v3/profile/@u:h/displayname", "{}"), 405, matrix.CodeUnrecognized)
}

func TestOptionsRunsNoEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{}, func(r *httpapi.Router) {
		r.Handle("OPTIONS", "/x", httpapi.RawOpen(func(http.ResponseWriter, *http.Request, *httpapi.Caller) error {
			t.Error("the endpoint was run")
			return nil
		}))
	})
	a := s.do("OPTIONS", "/x", "")
	s.want(a, 204, "")
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"} {
		if !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), method) {
			t.Errorf("%s is not allowed", method)
		}
	}
	for _, header := range []string{"X-Requested-With", "Content-Type", "Authorization"} {
		if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), header) {
			t.Errorf("%s is not allowed", header)
		}
	}
}

// TestAnswersAreForWebClients wants every answer to be readable by pages of any origin: also refusals, faults and
// endpoints that there are none.
func TestAnswersAreForWebClients(t *testing.T) {
	t.Parallel()
	s := start(t, httpapi.Options{Authenticate: tokens}, func(r *httpapi.Router) {
		r.Handle("GET", "/open", httpapi.Open(who))
		r.Handle("GET", "/authed", httpapi.Authed(who))
		r.Handle("GET", "/broken", httpapi.Open(func(context.Context, *httpapi.Caller, *nothing) (*nothing, error) {
			return nil, errors.New("broken")
		}))
		r.Handle("GET", "/panics", httpapi.RawOpen(func(http.ResponseWriter, *http.Request, *httpapi.Caller) error { panic("!") }))
	})
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/open", 200}, {"GET", "/authed", 401}, {"GET", "/broken", 500}, {"GET", "/panics", 500}, {"GET", "/nothing", 404}, {"PUT", "/open", 405},
		{"OPTIONS", "/open", 204}, {"OPTIONS", "/nothing", 204},
	} {
		a := s.do(c.method, c.path, "")
		if a.status != c.status || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Expose-Headers") == "" {
			t.Errorf("%s %s is answered %d with %v", c.method, c.path, a.status, a.header)
		}
	}
}

// TestHTTP2WithoutTLS is for reverse proxies.
func TestHTTP2WithoutTLS(t *testing.T) {
	t.Parallel()
	r := httpapi.New(httpapi.Options{})
	r.Handle("PUT", "/x", httpapi.Open(echoText))
	srv := httpapi.NewServer(r, slog.New(slog.DiscardHandler))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	t.Cleanup(func() { srv.Close(); <-served })
	for major, set := range map[int]func(*http.Protocols){1: func(p *http.Protocols) { p.SetHTTP1(true) }, 2: func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		set(tr.Protocols)
		defer tr.CloseIdleConnections()
		req, err := http.NewRequest("PUT", "http://"+listener.Addr().String()+"/x", strings.NewReader(`{"text":"hello"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatalf("HTTP/%d: %v", major, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.ProtoMajor != major || resp.StatusCode != 200 || string(body) != `"hello"` {
			t.Errorf("HTTP/%d: %s %d %q %v", major, resp.Proto, resp.StatusCode, body, err)
		}
	}
}

func echoText(_ context.Context, _ *httpapi.Caller, q *struct {
	Text string `json:"text"`
}) (*string, error) {
	return &q.Text, nil
}

// TestRefusalsNameTheirLimit wants the limit in the header, the log and the metric, also of one that is no rate.
func TestRefusalsNameTheirLimit(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := start(t, httpapi.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, func(r *httpapi.Router) {
		r.Handle("GET", "/busy", httpapi.Open(func(context.Context, *httpapi.Caller, *nothing) (*nothing, error) {
			return nil, fmt.Errorf("wrapped: %w", matrix.TooMany("tea.pots", 1500*time.Millisecond, "too many cups"))
		}))
	})
	before := limitedBy(t, "tea.pots")
	a := s.do("GET", "/busy", "")
	s.want(a, 429, matrix.CodeLimitExceeded)
	if a.header.Get("X-RateLimit-Limiter") != "tea.pots" || a.header.Get("Retry-After") != "2" || !strings.Contains(a.body, `"retry_after_ms":1500`) || strings.Contains(a.body, "pots") {
		t.Errorf("the refusal is %v %s", a.header, a.body)
	}
	if !strings.Contains(log.String(), "limiter=tea.pots") {
		t.Errorf("the log is %s", log.String())
	}
	if n := limitedBy(t, "tea.pots") - before; n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// limitedBy reads the metric of what a limit has refused.
func limitedBy(t *testing.T, limiter string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "astrocyte_rate_limited_total" && m.GetLabel()[0].GetValue() == limiter {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// tokens authenticates the tokens "good", "guest", "locked" and "suspended", each as a user of that name.
func tokens(_ context.Context, token string, _ *http.Request) (*httpapi.Caller, error) {
	switch token {
	case "good", "guest", "locked", "suspended":
		return &httpapi.Caller{User: matrix.UserID("@" + token + ":h"), Guest: token == "guest", Locked: token == "locked", Suspended: token == "suspended"}, nil
	}
	return nil, matrix.E(matrix.CodeUnknownToken, "unknown").With("soft_logout", false)
}

func who(_ context.Context, c *httpapi.Caller, _ *nothing) (*matrix.UserID, error) {
	return &c.User, nil
}

func TestCallers(t *testing.T) {
	t.Parallel()
	routes := func(r *httpapi.Router) {
		r.Handle("GET", "/authed", httpapi.Authed(who))
		r.Handle("GET", "/maybe", httpapi.Maybe(who))
		r.Handle("GET", "/open", httpapi.Open(who))
		r.Handle("GET", "/guests", httpapi.Authed(who), httpapi.GuestsToo())
		r.Handle("GET", "/logout", httpapi.Authed(who), httpapi.LockedToo())
		r.Handle("GET", "/send", httpapi.Authed(who), httpapi.NotSuspended())
	}
	s := start(t, httpapi.Options{Authenticate: tokens}, routes)
	for _, test := range []struct {
		path, authorization string
		status              int
		code                matrix.Code
		user                string
	}{
		{"/authed", "Bearer good", 200, "", `"@good:h"`},
		{"/authed", "bearer good", 200, "", `"@good:h"`},
		{"/authed?access_token=good", "", 200, "", `"@good:h"`},
		{"/authed?access_token=bad", "Bearer good", 200, "", `"@good:h"`},
		{"/authed", "", 401, matrix.CodeMissingToken, ""},
		{"/authed", "Bearer ", 401, matrix.CodeMissingToken, ""},
		{"/authed", "Basic good", 401, matrix.CodeMissingToken, ""},
		{"/authed", "Bearer bad", 401, matrix.CodeUnknownToken, ""},
		{"/maybe", "", 200, "", `""`},
		{"/maybe", "Bearer good", 200, "", `"@good:h"`},
		{"/maybe", "Bearer bad", 401, matrix.CodeUnknownToken, ""},
		{"/open", "Bearer bad", 200, "", `""`},
		{"/authed", "Bearer guest", 403, matrix.CodeGuestAccessForbidden, ""},
		{"/guests", "Bearer guest", 200, "", `"@guest:h"`},
		{"/authed", "Bearer locked", 401, matrix.CodeUserLocked, ""},
		{"/logout", "Bearer locked", 200, "", `"@locked:h"`},
		{"/authed", "Bearer suspended", 200, "", `"@suspended:h"`},
		{"/send", "Bearer suspended", 403, matrix.CodeUserSuspended, ""},
	} {
		var header []string
		if test.authorization != "" {
			header = []string{"Authorization", test.authorization}
		}
		a := s.do("GET", test.path, "", header...)
		s.want(a, test.status, test.code)
		if test.user != "" && a.body != test.user {
			t.Errorf("%s with %q is %s", test.path, test.authorization, a.body)
		}
	}
	if a := s.do("GET", "/authed", "", "Authorization", "Bearer bad"); !strings.Contains(a.body, `"soft_logout":false`) {
		t.Errorf("members of the error are missing: %s", a.body)
	}
	strict := start(t, httpapi.Options{Authenticate: tokens, NoQueryToken: true}, routes)
	strict.want(strict.do("GET", "/authed?access_token=good", ""), 401, matrix.CodeMissingToken)
}

// TestChangesByAdministratorsAreLogged wants one line for each, with names and without secrets.
func TestChangesByAdministratorsAreLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	tokens := func(_ context.Context, token string, _ *http.Request) (*httpapi.Caller, error) {
		return &httpapi.Caller{User: matrix.UserID("@" + token + ":h"), Admin: token == "root"}, nil
	}
	type change struct {
		User     string `path:"userID"`
		Token    string `path:"token"`
		Password string `json:"password"`
		Locked   bool   `json:"locked"`
	}
	act := httpapi.Authed(func(_ context.Context, _ *httpapi.Caller, q *change) (*nothing, error) {
		if q.Password == "short" {
			return nil, matrix.Forbidden("no such password")
		}
		return nil, nil
	})
	s := start(t, httpapi.Options{Authenticate: tokens, Log: slog.New(slog.NewTextHandler(&log, nil))}, func(r *httpapi.Router) {
		r.Handle("PUT", "/users/{userID}", act, httpapi.AdminsOnly())
		r.Handle("GET", "/users/{userID}", act, httpapi.AdminsOnly())
		r.Handle("DELETE", "/tokens/{token}", act, httpapi.AdminsOnly())
		r.Handle("PUT", "/mine/{userID}", act)
	})
	line := func(method, path, body, as string) string {
		t.Helper()
		log.Reset()
		s.do(method, path, body, "Authorization", "Bearer "+as)
		return log.String()
	}
	got := line("PUT", "/users/@bob:h?access_token=hidden", `{"password":"a secret","locked":true,"odd":1}`, "root")
	for _, want := range []string{"msg=administration", "by=@root:h", "method=PUT", "endpoint=/users/{userID}", "about=@bob:h", `given="locked password"`, "status=200"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if strings.Contains(got, "secret") || strings.Contains(got, "hidden") || strings.Count(got, "\n") != 1 {
		t.Errorf("the log is %s", got)
	}
	if got := line("PUT", "/users/@bob:h", `{"password":"short"}`, "root"); !strings.Contains(got, "status=403") || !strings.Contains(got, "refused=M_FORBIDDEN") || strings.Contains(got, "short") {
		t.Errorf("a refusal is logged as %s", got)
	}
	if got := line("DELETE", "/tokens/sesame", `{}`, "root"); strings.Contains(got, "sesame") || !strings.Contains(got, "endpoint=/tokens/{token}") {
		t.Errorf("the log is %s", got)
	}
	for _, quiet := range []string{line("GET", "/users/@bob:h", "", "root"), line("PUT", "/users/@bob:h", `{}`, "eve"), line("PUT", "/mine/@root:h", `{}`, "root")} {
		if quiet != "" {
			t.Errorf("the log is %s", quiet)
		}
	}
}

func TestOurFaultsAreLoggedAndNotShown(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := start(t, httpapi.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, func(r *httpapi.Router) {
		r.Handle("GET", "/error", httpapi.Open(func(context.Context, *httpapi.Caller, *nothing) (*nothing, error) {
			return nil, errors.New("secret of the database")
		}))
		r.Handle("GET", "/panic", httpapi.Open(func(context.Context, *httpapi.Caller, *nothing) (*nothing, error) {
			panic("secret of the code")
		}))
		r.Handle("GET", "/fault", httpapi.Open(func(context.Context, *httpapi.Caller, *nothing) (*nothing, error) {
			return nil, matrix.Forbidden("not you")
		}))
		r.Handle("GET", "/challenge", httpapi.Open(func(context.Context, *httpapi.Caller, *nothing) (*nothing, error) {
			return nil, &matrix.Error{Status: 401, Fields: map[string]any{"session": "s"}}
		}))
	})
	for _, path := range []string{"/error?access_token=hidden", "/panic?access_token=hidden"} {
		a := s.do("GET", path, "")
		s.want(a, 500, matrix.CodeUnknown)
		if strings.Contains(a.body, "secret") {
			t.Errorf("the text is shown: %s", a.body)
		}
		if !strings.Contains(log.String(), a.header.Get("X-Request-ID")) {
			t.Errorf("request %s is not in the log:\n%s", a.header.Get("X-Request-ID"), log.String())
		}
	}
	for _, want := range []string{"secret of the database", "secret of the code", "level=ERROR", "router_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, log.String())
		}
	}
	s.want(s.do("GET", "/fault", ""), 403, matrix.CodeForbidden)
	if strings.Contains(log.String(), "not you") || strings.Contains(log.String(), "hidden") {
		t.Errorf("the log has what it should not:\n%s", log.String())
	}
	if a := s.do("GET", "/challenge", ""); a.status != 401 || a.body != `{"session":"s"}` {
		t.Errorf("the challenge is %d %s", a.status, a.body)
	}
}

func TestLargeAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	type request struct {
		Size int `query:"size"`
	}
	s := start(t, httpapi.Options{}, func(r *httpapi.Router) {
		r.Handle("GET", "/x", httpapi.Open(func(_ context.Context, _ *httpapi.Caller, q *request) (*string, error) {
			text := strings.Repeat("<é>", q.Size/4)
			return &text, nil
		}))
	})
	for _, test := range []struct {
		size, accept, encoding string
	}{
		{"40000", "gzip, br", "gzip"}, {"40000", "br;q=1, *", "gzip"}, {"40000", "gzip;q=0.5", "gzip"},
		{"40000", "", ""}, {"40000", "gzip;q=0", ""}, {"40000", "gzip; q=0.0", ""}, {"40000", "br", ""}, {"100", "gzip", ""},
	} {
		a := s.do("GET", "/x?size="+test.size, "", "Accept-Encoding", test.accept)
		if got := a.header.Get("Content-Encoding"); got != test.encoding {
			t.Errorf("%+v is encoded as %q", test, got)
			continue
		}
		body := a.body
		if test.encoding == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil || len(a.body) > 2000 {
				t.Errorf("compressed to %d bytes, %v", len(a.body), err)
			}
			body = string(b)
		}
		if !strings.HasPrefix(body, `"<é><é>`) {
			t.Errorf("the body begins with %.20s", body)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	limiter := httpapi.NewLimiter(httpapi.Limits{
		Classes: map[string]httpapi.Class{"send": {Account: httpapi.Rate{PerSecond: 0.5, Burst: 2}, Address: httpapi.Rate{PerSecond: 1, Burst: 5}}},
		Factors: map[matrix.UserID]float64{"@guest:h": 0, "@suspended:h": 2},
	}, func() time.Time { return now })
	s := start(t, httpapi.Options{Authenticate: tokens, Limiter: limiter}, func(r *httpapi.Router) {
		r.Handle("GET", "/x", httpapi.Maybe(who), httpapi.Limit("send"), httpapi.GuestsToo())
		r.Handle("GET", "/free", httpapi.Authed(who))
	})
	good := []string{"Authorization", "Bearer good"}
	s.want(s.do("GET", "/x", "", good...), 200, "")
	s.want(s.do("GET", "/x", "", good...), 200, "")
	a := s.do("GET", "/x", "", good...)
	s.want(a, 429, matrix.CodeLimitExceeded)
	if a.header.Get("Retry-After") != "2" || !strings.Contains(a.body, `"retry_after_ms":2000`) || a.header.Get("X-RateLimit-Limiter") != "send.account" {
		t.Errorf("the refusal is %v %s", a.header, a.body)
	}
	s.want(s.do("GET", "/free", "", good...), 200, "")
	for range 3 {
		s.want(s.do("GET", "/x", ""), 200, "") // by address: two of five are gone
	}
	if a = s.do("GET", "/x", ""); a.status != 429 || a.header.Get("X-RateLimit-Limiter") != "send.address" {
		t.Errorf("the sixth from the address is %d %v", a.status, a.header)
	}
	now = now.Add(2 * time.Second)
	s.want(s.do("GET", "/x", "", good...), 200, "")
	s.want(s.do("GET", "/x", "", good...), 429, matrix.CodeLimitExceeded)

	for range 50 {
		if err := limiter.Account("send", "@guest:h"); err != nil {
			t.Fatalf("a free account is limited: %v", err)
		}
	}
	for n := range 5 {
		if err := limiter.Account("send", "@suspended:h"); (err != nil) != (n >= 4) {
			t.Errorf("request %d of an account with a double limit: %v", n, err)
		}
	}
	other := netip.MustParseAddr("2001:db8::1")
	for range 5 {
		if err := limiter.Address("send", other); err != nil {
			t.Fatal(err)
		}
	}
	if limiter.Address("send", netip.MustParseAddr("2001:db8::ffff:2")) == nil {
		t.Error("another address of the same /64 has a bucket of its own")
	}
	limiter.Set(httpapi.Limits{})
	if err := limiter.Address("send", other); err != nil {
		t.Errorf("limited after limits were lifted: %v", err)
	}
}

func TestForwardedAddress(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, test := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1:99", "198.51.100.7", "192.0.2.1"},
		{"10.0.0.1:99", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:99", "1.1.1.1, 198.51.100.7, 10.2.2.2", "198.51.100.7"},
		{"10.0.0.1:99", "", "10.0.0.1"},
		{"10.0.0.1:99", "nonsense", "10.0.0.1"},
		{"10.0.0.1:99", "nonsense, 10.3.3.3", "10.3.3.3"},
		{"[::1]:99", "[2001:db8::2]:1234", "2001:db8::2"},
		{"[::ffff:10.0.0.1]:99", "198.51.100.7:80", "198.51.100.7"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		if test.forwarded != "" {
			r.Header.Set("X-Forwarded-For", test.forwarded)
		}
		if got := httpapi.ClientAddress(r, trusted).String(); got != test.want {
			t.Errorf("%+v is %s", test, got)
		}
	}
}

func TestWaitingRequestsHearOfTheStop(t *testing.T) {
	t.Parallel()
	r := httpapi.New(httpapi.Options{})
	waiting := make(chan struct{})
	r.Handle("POST", "/wait", httpapi.Open(func(ctx context.Context, _ *httpapi.Caller, _ *struct {
		A int `json:"a"`
	}) (*nothing, error) {
		close(waiting)
		select {
		case <-httpapi.Stopping(ctx):
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}))
	srv := httpapi.NewServer(r, slog.New(slog.DiscardHandler))
	s := httptest.NewUnstartedServer(r)
	s.Config = srv.Server
	s.Start()
	defer s.Close()
	status := make(chan int)
	go func() { status <- (&server{s, t}).do("POST", "/wait", "{}").status }()
	<-waiting
	if err := srv.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-status; got != 200 {
		t.Errorf("the waiting request was answered %d", got)
	}
}

// deadlines is a ResponseWriter that notes the write deadlines it is given.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestDeadlineOfTheAnswerBefore: on a connection that is used again, the deadline of the last answer is
// still set, and may be over.
func TestDeadlineOfTheAnswerBefore(t *testing.T) {
	t.Parallel()
	r := httpapi.New(httpapi.Options{})
	r.Handle("GET", "/x", httpapi.Open(who))
	for method, most := range map[string]int{"GET": 2, "OPTIONS": 1} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r.ServeHTTP(w, httptest.NewRequest(method, "/x", nil))
		if len(w.set) != most || !w.set[0].IsZero() || most == 2 && w.set[1].Before(time.Now()) {
			t.Errorf("%s sets the deadlines %v", method, w.set)
		}
	}
}

// TestClientGoesAway: what breaks below because the client went away is not our fault, and not logged as one.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r := httpapi.New(httpapi.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	r.Handle("GET", "/x", httpapi.Open(func(context.Context, *httpapi.Caller, *nothing) (*nothing, error) {
		cancel()
		return nil, errors.New("statement cancelled")
	}))
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/x", nil))
	if log.Len() > 0 {
		t.Errorf("the log has %s", log.String())
	}
}
