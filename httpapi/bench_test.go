package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// BenchmarkRequest is what the HTTP layer takes for a small authenticated request among many routes.
func BenchmarkRequest(b *testing.B) {
	type request struct {
		Room matrix.RoomID   `path:"roomID"`
		Type string          `path:"eventType"`
		Txn  string          `path:"txnID"`
		Body json.RawMessage `body:"whole"`
	}
	type response struct {
		ID matrix.EventID `json:"event_id"`
	}
	r := httpapi.New(httpapi.Options{Authenticate: tokens})
	for i := range 30 {
		for _, group := range []string{"rooms/{a}", "user/{a}", "keys", "pushrules/{a}", "profile/{a}", "devices/{a}", "admin/{a}"} {
			r.Handle("GET", fmt.Sprintf("/_matrix/client/v3/%s/x%d/{b}", group, i), httpapi.Authed(who))
		}
	}
	r.Handle("PUT", "/_matrix/client/v3/rooms/{roomID}/send/{eventType}/{txnID}", httpapi.Authed(
		func(context.Context, *httpapi.Caller, *request) (*response, error) {
			return &response{ID: "$abcdefghijklmnopqrstuvwxyz"}, nil
		}))
	body := []byte(`{"msgtype":"m.text","body":"hello, world"}`)
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest("PUT", "/_matrix/client/v3/rooms/%21abc:example.org/send/m.room.message/t1", bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer good")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
}
