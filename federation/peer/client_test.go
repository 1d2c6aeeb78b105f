package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/testkit/story"
)

// pair is a server that asks, and one that answers as a test wants it.
func pair(t *testing.T) (asks, answers *story.Foreign) {
	t.Helper()
	return story.NewForeign(t), story.NewForeign(t)
}

func TestDo(t *testing.T) {
	t.Parallel()
	asks, answers := pair(t)
	answers.Handle("PUT /_matrix/federation/v1/x/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answers.Answers(w, 200, map[string]string{"id": r.PathValue("id"), "q": r.URL.Query().Get("q"), "body": string(body), "proto": r.Proto})
	})
	var got struct{ ID, Q, Body, Proto string }
	err := asks.Client.Do(t.Context(), answers.Name, peer.Request{
		Method: "PUT", Path: peer.Path("/_matrix/federation/v1/x", "a/b c"), Query: map[string][]string{"q": {"?&="}},
		Body: map[string]any{"b": 1.5, "a": "<é>"}, Into: &got,
	})
	if err != nil || got.ID != "a/b c" || got.Q != "?&=" || got.Body != `{"a":"<é>","b":1.5}` || got.Proto != "HTTP/2.0" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	asks, answers := pair(t)
	for _, test := range []struct {
		status int
		header string
		body   string
		code   matrix.Code
		after  time.Duration
	}{
		{403, "", `{"errcode":"M_FORBIDDEN","error":"no","extra":1}`, matrix.CodeForbidden, 0},
		{404, "", `<html>`, matrix.CodeUnknown, 0},
		{500, "", ``, matrix.CodeUnknown, 0},
		{302, "", `{}`, matrix.CodeUnknown, 0},
		{429, "120", `{"errcode":"M_LIMIT_EXCEEDED","error":"slow down","retry_after_ms":1}`, matrix.CodeLimitExceeded, 2 * time.Minute},
		{429, "", `{"errcode":"M_LIMIT_EXCEEDED","error":"slow down","retry_after_ms":1500}`, matrix.CodeLimitExceeded, 1500 * time.Millisecond},
		{429, "99999999999", `{"errcode":"M_LIMIT_EXCEEDED"}`, matrix.CodeLimitExceeded, 24 * time.Hour},
		{400, "", `{"errcode":"M_UNKNOWN","error":"` + strings.Repeat("x", 1<<20) + `"}`, matrix.CodeUnknown, 0},
	} {
		path := fmt.Sprintf("/%d/%s/%d", test.status, test.code, len(test.body))
		answers.Handle("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			if test.header != "" {
				w.Header().Set("Retry-After", test.header)
			}
			w.Header().Set("Location", "https://"+string(asks.Name)+":8448/")
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		})
		err := asks.Client.Do(t.Context(), answers.Name, peer.Request{Method: "GET", Path: path})
		var refused *peer.Refused
		if !errors.As(err, &refused) || refused.Status != test.status || refused.Fault.Code != test.code || refused.RetryAfter != test.after ||
			len(refused.Fault.Message) > 400 || refused.Server != answers.Name {
			t.Errorf("%s: %v, %+v", path, err, refused)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	asks, answers := pair(t)
	for name, answer := range map[string]http.HandlerFunc{
		"large":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"x":%q}`, strings.Repeat("x", 2000)) },
		"endless": func(w http.ResponseWriter, r *http.Request) { endless(w, r) },
		"text":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `hello`) },
		"type":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":1}`) },
		"half": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{}`)
		},
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"slow":   func(w http.ResponseWriter, r *http.Request) { drips(w, r) },
	} {
		answers.Handle("GET /"+name, answer)
		var into struct{ ID string }
		late := name == "silent" || name == "slow"
		timeout := 5 * time.Minute
		if late {
			timeout = 500 * time.Millisecond
		}
		err := asks.Client.Do(t.Context(), answers.Name, peer.Request{Method: "GET", Path: "/" + name, Into: &into, Limit: 1000, Timeout: timeout})
		var unreachable *peer.Unreachable
		if !errors.As(err, &unreachable) || late != errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endless answers for as long as somebody reads.
func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := io.WriteString(w, strings.Repeat(" ", 64<<10)); err != nil {
			return
		}
	}
}

// drips answers a byte now and then.
func drips(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		allow, deny []string
		server      matrix.ServerName
		admitted    bool
	}{
		{nil, nil, "a.org", true},
		{[]string{"a.org", "*.b.org"}, nil, "a.org", true},
		{[]string{"a.org", "*.b.org"}, nil, "a.org:8448", true},
		{[]string{"a.org", "*.b.org"}, nil, "x.b.org", true},
		{[]string{"a.org", "*.b.org"}, nil, "b.org", false},
		{[]string{"a.org"}, nil, "xa.org", false},
		{[]string{"a.org:1"}, nil, "a.org:1", true},
		{[]string{"a.org:1"}, nil, "a.org:2", false},
		{nil, []string{"a.org"}, "a.org", false},
		{nil, []string{"a.org"}, "A.ORG:99", false},
		{nil, []string{"a.org"}, "b.org", true},
		{[]string{"*"}, []string{"a.*"}, "a.org", false},
	} {
		c := peer.New(peer.Options{Server: "here.org", Egress: nowhere(), Admission: peer.Admit(test.allow, test.deny)})
		if c.Admits(test.server) != test.admitted {
			t.Errorf("%+v", test)
		}
		if test.admitted {
			continue
		}
		if err := c.Do(t.Context(), test.server, peer.Request{Method: "GET", Path: "/"}); !errors.Is(err, peer.ErrNotAdmitted) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	alone := peer.New(peer.Options{Server: "here.org", Egress: nowhere(), Admission: peer.Admission{None: true}})
	if alone.Admits("a.org") {
		t.Error("a server that stands alone speaks with others")
	}
}
