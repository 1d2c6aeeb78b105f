package test

import (
	"encoding/json"
	"net/http"
	"testing"

	"astrocyte/roomserver/rules"
	"astrocyte/testkit/story"
)

// TestGapReachesBackBeforeTheJoin is about a server that is asked for what is missing and tells more, back to the beginning of
// a small room: it does so where it does not know our ends. What was before we came is nothing new.
func TestGapReachesBackBeforeTheJoin(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		f := story.NewForeign(t)
		f.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) {
			f.Answers(w, 200, map[string]any{"pdus": map[string]any{}})
		})
		room := alice.CreatesRoom()
		alice.Says(room, "long ago")
		theirs := f.Joins(a, "eve", room)
		joinsVia(bob, room, a)
		together := alice.Says(room, "together")
		bob.Sees(room, "together")
		past, err := f.Asks(a, "GET", "/_matrix/federation/v1/backfill/"+room+"?limit=50&v="+together, nil)
		if err != nil || len(past.At("pdus").List()) < 8 {
			t.Fatalf("the past is %s: %v", past, err)
		}
		last, err := rules.Read(theirs.Version, past.At("pdus", 0).Bytes())
		if err != nil || string(last.ID()) != together {
			t.Fatalf("the past begins with %s: %v", past.At("pdus", 0), err)
		}
		theirs.Knows(last)
		missing := theirs.Says("missing")
		f.Handle("POST /_matrix/federation/v1/get_missing_events/{room}", func(w http.ResponseWriter, _ *http.Request) {
			told := []any{json.RawMessage(missing.Bytes())}
			for _, pdu := range past.At("pdus").List() {
				told = append(told, json.RawMessage(pdu.Bytes()))
			}
			f.Answers(w, 200, map[string]any{"events": told})
		})
		sends(t, f, b, "t1", []any{theirs.Says("afterwards")})
		bob.Sees(room, "missing")
		bob.Sees(room, "afterwards")
		for _, e := range bob.Timeline(room) {
			if e.At("type").Text() == "m.room.create" || e.At("content", "body").Text() == "long ago" {
				t.Errorf("bob is told as news: %s", e)
			}
		}
	})
}
