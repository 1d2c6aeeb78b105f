package test

import (
	"encoding/json"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit/story"
)

// TestRedactionsThatRedactNothingAreNotShown is about redactions of another server: clients do what they say, so they are
// shown what is done only. One that comes before its target is shown once that is there.
//
// Spec: RV 3 "Handling redactions".
func TestRedactionsThatRedactNothingAreNotShown(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, _ *story.Server) {
		alice, f := a.User("alice"), story.NewForeign(t)
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		words, elsewhere := alice.Says(room, "what Alice says"), alice.Says(other, "what Alice says elsewhere")
		theirs := f.Joins(a, "mallory", room)
		redacts := func(target string) json.RawMessage {
			p := theirs.Proto("m.room.redaction", map[string]any{"redacts": target})
			p.Redacts = matrix.EventID(target)
			e := theirs.Makes(p)
			theirs.Knows(e)
			return json.RawMessage(e.Bytes())
		}
		sends(t, f, a, "t1", []any{redacts(words), redacts(elsewhere), theirs.Says("and on")})
		alice.Sees(room, "and on")
		for _, e := range alice.Timeline(room) {
			if e.At("type").Text() == "m.room.redaction" {
				t.Errorf("alice is told of a redaction: %s", e)
			}
		}
		if e := alice.Reads("/rooms/" + room + "/event/" + words).JSON; e.At("content", "body").Text() != "what Alice says" {
			t.Errorf("the message is %s", e)
		}

		slip := theirs.Says("a slip of the tongue")
		sends(t, f, a, "t2", []any{slip})
		alice.Sees(room, "a slip of the tongue")
		sends(t, f, a, "t3", []any{redacts(string(slip.ID()))})
		alice.SeesEvent(room, "the redaction", func(e story.JSON) bool { return e.At("type").Text() == "m.room.redaction" })

		late := theirs.Makes(theirs.Proto("m.room.message", map[string]any{"msgtype": "m.text", "body": "late"}))
		sends(t, f, a, "t4", []any{redacts(string(late.ID())), theirs.Says("before it")})
		alice.Sees(room, "before it")
		sends(t, f, a, "t5", []any{late})
		shown := alice.SeesEvent(room, "the redacted message", func(e story.JSON) bool { return e.At("event_id").Text() == string(late.ID()) })
		if shown.At("content", "body").Text() != "" || !shown.At("unsigned", "redacted_because").There() {
			t.Errorf("what was redacted before it came is %s", shown)
		}
		alice.SeesEvent(room, "its redaction", func(e story.JSON) bool {
			return e.At("type").Text() == "m.room.redaction" && e.At("redacts").Text() == string(late.ID())
		})
	})
}
