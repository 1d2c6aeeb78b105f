package test

import (
	"fmt"
	"slices"
	"testing"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// says is the request to send a text over a socket.
func says(room, txn, text string) map[string]any {
	return map[string]any{
		"type": "send", "room_id": room, "event_type": "m.room.message", "txn_id": txn,
		"content": map[string]any{"msgtype": "m.text", "body": text},
	}
}

func TestTalkOverSockets(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		hers, his := alice.Listens(), bob.Listens()
		first := his.Delta()
		if first.Has("since") || !first.At("delta", "rooms", "join", room).There() {
			t.Errorf("the first delta of a new client is %s", first)
		}
		his.Acks()
		for i := range 5 {
			question, reply := fmt.Sprintf("question %d", i), fmt.Sprintf("answer %d", i)
			sent := hers.Asks(says(room, fmt.Sprintf("t%d", i), question))
			seen := his.Sees(room, question)
			if id := sent.At("result", "event_id").Text(); id == "" || id != seen.At("event_id").Text() {
				t.Errorf("alice is answered %s, bob sees %s", sent, seen)
			}
			bob.Says(room, reply) // by HTTP
			hers.Sees(room, reply)
		}
		if own := hers.Sees(room, "question 0"); own.At("unsigned", "transaction_id").Text() != "t0" {
			t.Errorf("alice's own event lacks its transaction ID: %s", own)
		}
	})
}

func TestSocketAndHTTPShareTransactionIDs(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		socket := alice.Listens()
		first := socket.Asks(says(room, "t1", "hello")).At("result", "event_id").Text()
		if again := socket.Asks(says(room, "t1", "hello")).At("result", "event_id").Text(); again != first || again == "" {
			t.Errorf("repeated over the socket: %q, then %q", first, again)
		}
		if again := alice.Sends(room, "t1", "hello"); again != first {
			t.Errorf("sent by socket as %q, and by HTTP as %q", first, again)
		}
		eve := hs.User("eve").Listens()
		if a := eve.Asks(says(room, "t1", "spam")); a.At("error", "errcode").Text() != "M_FORBIDDEN" || a.At("error", "error").Text() == "" {
			t.Errorf("a stranger is answered %s", a)
		}
		if a := eve.Asks(map[string]any{"type": "no such thing", "room_id": room}); a.At("error", "errcode").Text() != "M_UNRECOGNIZED" {
			t.Errorf("an unknown request is answered %s", a)
		}
	})
}

func TestSocketResumesAfterACut(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		socket := bob.Listens()
		alice.Says(room, "before the cut")
		socket.Sees(room, "before the cut")
		hs.Restart()
		if code := socket.IsClosed(); code != 1012 && code != 1006 {
			t.Errorf("the restart closed the socket with %d", code)
		}
		want := []string{alice.Says(room, "1"), alice.Says(room, "2")}
		socket = bob.Listens() // from where it was
		socket.Sees(room, "2")
		var got []string
		for _, e := range bob.Timeline(room) {
			got = append(got, e.At("event_id").Text())
		}
		if !slices.Equal(got[len(got)-2:], want) {
			t.Errorf("after the cut come %v, want %v", got, want)
		}
		// And the long poll goes on where the socket ended.
		alice.Says(room, "3")
		bob.Sees(room, "3")
	})
}

func TestGapIsSeenBySeqAndFilledOverTheSocket(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Syncs()
		before := bob.Timeline(room)
		last := before[len(before)-1].At("unsigned", "im.astrocyte.seq").Int()
		var missed []string
		for i := range 20 {
			missed = append(missed, alice.Says(room, fmt.Sprint(i)))
		}
		socket := bob.Listens(map[string]any{"filter": map[string]any{"room": map[string]any{"timeline": map[string]any{"limit": 5}}}})
		timeline := socket.Delta().At("delta", "rooms", "join", room, "timeline")
		first := timeline.At("events", 0, "unsigned", "im.astrocyte.seq").Int()
		if first <= last+1 || !timeline.At("limited").Bool() {
			t.Fatalf("after seq %d comes %d, and the timeline is limited: %v", last, first, timeline.At("limited"))
		}
		a := socket.Asks(map[string]any{"type": "range", "room_id": room, "from": last + 1, "to": first - 1}).At("result")
		if got := a.At("events").Texts("event_id"); !slices.Equal(got, missed[:15]) || a.At("to").Int() != first-1 {
			t.Errorf("the range from %d to %d is %v up to %d, want %v", last+1, first-1, got, a.At("to").Int(), missed[:15])
		}
		stranger := hs.User("eve").Listens()
		if a := stranger.Asks(map[string]any{"type": "range", "room_id": room, "from": 1, "to": 5}); a.At("error", "errcode").Text() != "M_FORBIDDEN" {
			t.Errorf("a stranger is answered %s", a)
		}
	})
}

func TestSocketsEndWithTheirToken(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		phone := alice.LogsIn()
		socket := phone.Listens()
		phone.Must("POST", "/logout", `{}`)
		alice.Says(room, "after the logout")
		if code := socket.IsClosed(); code != 4401 {
			t.Errorf("after a logout the socket is closed with %d", code)
		}
		for i := range phone.Timeline(room) {
			if phone.Timeline(room)[i].At("content", "body").Text() == "after the logout" {
				t.Error("a device that is logged out is told what happens")
			}
		}
		wrong := hs.Nobody().Connects()
		wrong.Writes(map[string]any{"type": "auth", "access_token": "made up"})
		if f := wrong.Reads(); f.At("type").Text() != "error" || f.At("error", "errcode").Text() != "M_UNKNOWN_TOKEN" {
			t.Errorf("a made-up token is answered %s", f)
		}
		if code := wrong.IsClosed(); code != 4401 {
			t.Errorf("a made-up token is closed with %d", code)
		}
		rude := hs.Nobody().Connects()
		rude.Writes(map[string]any{"type": "ack", "token": "x"})
		if code := rude.IsClosed(); code != 4400 {
			t.Errorf("a socket without login is closed with %d", code)
		}
	})
}

func TestSocketTellsTypingAndInvites(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		bob.Syncs()
		socket := bob.Listens()
		room := alice.CreatesRoom(private())
		alice.Invites(room, bob)
		for !socket.Delta().At("delta", "rooms", "invite", room).There() {
			socket.Acks()
		}
		bob.Joins(room)
		for !socket.Delta().At("delta", "rooms", "join", room).There() {
			socket.Acks()
		}
		if a := socket.Asks(map[string]any{"type": "typing", "room_id": room, "typing": true, "timeout": 30000}); a.Has("error") {
			t.Fatalf("typing over a socket is answered %s", a)
		}
		alice.Waits("bob to type", func(a story.JSON) bool {
			return ephemeral(a, room, "m.typing").At("user_ids").String() == `["`+bob.ID+`"]`
		})
		read := alice.Says(room, "read this")
		if a := socket.Asks(map[string]any{"type": "receipt", "room_id": room, "event_id": read, "receipt_type": "m.read"}); a.Has("error") {
			t.Fatalf("a receipt over a socket is answered %s", a)
		}
		alice.Waits("bob's receipt", hasReceipt(room, read, "m.read", bob.ID))
	})
}
