package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// ephemeral gives the content of the newest ephemeral event of a type in a sync's room.
func ephemeral(answer story.JSON, room, eventType string) story.JSON {
	e, _ := answer.At("rooms", "join", room, "ephemeral", "events").Find(func(e story.JSON) bool { return e.At("type").Text() == eventType })
	return e.At("content")
}

// hasReceipt says whether a sync tells that a user has read up to an event.
func hasReceipt(room, event, kind, user string) func(story.JSON) bool {
	return func(a story.JSON) bool {
		return ephemeral(a, room, "m.receipt").At(event, kind, user, "ts").Int() > 0
	}
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		first, second := alice.Says(room, "first"), alice.Says(room, "second")
		alice.Syncs()
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", first), `{}`)
		alice.Waits("bob's receipt", hasReceipt(room, first, "m.read", bob.ID))
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", second), `{}`)
		alice.Waits("bob's second receipt", hasReceipt(room, second, "m.read", bob.ID))
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", first), `{}`) // does not go back
		if a := alice.SyncsAnew(); !hasReceipt(room, second, "m.read", bob.ID)(a) || hasReceipt(room, first, "m.read", bob.ID)(a) {
			t.Errorf("a first sync has the receipts %s", ephemeral(a, room, "m.receipt"))
		}
		third := alice.Says(room, "third")
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read.private", third), `{}`)
		bob.Waits("his own private receipt", hasReceipt(room, third, "m.read.private", bob.ID))
		alice.Sees(room, "third")
		if a := alice.SyncsAnew(); hasReceipt(room, third, "m.read.private", bob.ID)(a) {
			t.Error("alice sees bob's private receipt")
		}
		bob.IsRefused(matrix.CodeInvalidParam, 400, "POST", story.Path("rooms", room, "receipt", "org.example.none", first), `{}`)
		if a := hs.User("eve").Does("POST", story.Path("rooms", room, "receipt", "m.read", first), `{}`); a.Status != 403 {
			t.Errorf("a receipt of a stranger: status %d: %s", a.Status, a)
		}
	})
}

func TestReceiptsOfThreads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		root := alice.Says(room, "root")
		reply := alice.SendsEvent(room, "m.room.message", "r", map[string]any{
			"msgtype": "m.text", "body": "reply", "m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": root},
		})
		alice.Syncs()
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", root), `{"thread_id":"main"}`)
		a := alice.Waits("bob's receipt of the main timeline", hasReceipt(room, root, "m.read", bob.ID))
		if got := ephemeral(a, room, "m.receipt").At(root, "m.read", bob.ID, "thread_id").Text(); got != "main" {
			t.Errorf("the thread of the receipt is %q", got)
		}
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", reply), map[string]any{"thread_id": root})
		a = alice.Waits("bob's receipt of the thread", hasReceipt(room, reply, "m.read", bob.ID))
		if got := ephemeral(a, room, "m.receipt").At(reply, "m.read", bob.ID, "thread_id").Text(); got != root {
			t.Errorf("the thread of the receipt is %q", got)
		}
		a = alice.SyncsAnew()
		if !hasReceipt(room, root, "m.read", bob.ID)(a) || !hasReceipt(room, reply, "m.read", bob.ID)(a) {
			t.Errorf("receipts of two threads are not both there: %s", ephemeral(a, room, "m.receipt"))
		}
	})
}

func TestReadMarkers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		first, second := alice.Says(room, "first"), alice.Says(room, "second")
		alice.Syncs()
		bob.Must("POST", story.Path("rooms", room, "read_markers"), map[string]any{"m.fully_read": first, "m.read": second})
		alice.Waits("bob's receipt", hasReceipt(room, second, "m.read", bob.ID))
		bob.Waits("his marker", func(a story.JSON) bool {
			e, _ := a.At("rooms", "join", room, "account_data", "events").Find(func(e story.JSON) bool { return e.At("type").Text() == "m.fully_read" })
			return e.At("content", "event_id").Text() == first
		})
		bob.IsRefused(matrix.CodeBadJSON, 405, "PUT", story.Path("user", bob.ID, "rooms", room, "account_data", "m.fully_read"), map[string]any{"event_id": second})
	})
}

func TestTyping(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		room := alice.CreatesRoom()
		bob.Joins(room)
		alice.Syncs()
		typing := func(want string) func(story.JSON) bool {
			return func(a story.JSON) bool { return ephemeral(a, room, "m.typing").At("user_ids").String() == want }
		}
		path := story.Path("rooms", room, "typing", bob.ID)
		bob.Must("PUT", path, `{"typing":true,"timeout":30000}`)
		alice.Waits("bob to type", typing(`["`+bob.ID+`"]`))
		if a := alice.SyncsFrom(""); !typing(`["` + bob.ID + `"]`)(a) {
			t.Errorf("a first sync does not tell that bob types: %s", a.At("rooms", "join", room, "ephemeral"))
		}
		bob.Must("PUT", path, `{"typing":false}`)
		alice.Waits("bob to stop", typing(`[]`))
		bob.Must("PUT", path, `{"typing":true,"timeout":100}`)
		alice.Waits("the end of his time", typing(`[]`)) // before it she is told that he types, unless she asks too late
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "typing", alice.ID), `{"typing":true}`)
		eve.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "typing", eve.ID), `{"typing":true}`)
	})
}
