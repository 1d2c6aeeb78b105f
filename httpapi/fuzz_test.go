package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"astrocyte/httpapi"
)

// FuzzRequest holds the promises to a handler against arbitrary requests: text is UTF-8 without NUL, a
// whole body is a JSON object, or missing where it may be, and nothing is answered with 500.
func FuzzRequest(f *testing.F) {
	type request struct {
		Key   string          `path:"key"`
		Query string          `query:"q"`
		Limit *int64          `query:"limit"`
		Name  string          `json:"name"`
		Deep  map[string]any  `json:"deep"`
		Whole json.RawMessage `body:"whole,optional"`
	}
	r := httpapi.New(httpapi.Options{})
	text := func(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
	r.Handle("PUT", "/x/{key}", httpapi.Open(func(_ context.Context, _ *httpapi.Caller, q *request) (*request, error) {
		if !text(q.Key) || !text(q.Query) || !text(q.Name) {
			panic("text that is none reached a handler")
		}
		var object map[string]any
		if err := json.Unmarshal(q.Whole, &object); len(q.Whole) > 0 && (err != nil || object == nil) {
			panic("a body that is no object reached a handler")
		}
		return q, nil
	}))
	f.Add("a%2Fb", "q=1&limit=2", `{"name":"x","deep":{"a":[1.5]}}`)
	f.Add("%00", "q=%ff", `{"name":"\u0000"}`)
	f.Add("%zz", "limit=99999999999999999999", `null`)
	f.Fuzz(func(t *testing.T, path, query, body string) {
		u, err := url.ParseRequestURI("/x/" + path + "?" + query)
		if err != nil {
			t.Skip()
		}
		req := httptest.NewRequest("PUT", "/", strings.NewReader(body))
		req.URL = u
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code == 500 {
			t.Errorf("%q %q: %s", u, body, w.Body)
		}
	})
}
