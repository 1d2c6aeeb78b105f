package syncapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/gorilla/websocket"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func text(body string) map[string]any { return map[string]any{"msgtype": "m.text", "body": body} }

func TestMessagesGoBothWays(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		a, b := opens(t, hs, alice, ""), opens(t, hs, bob, "")
		send := map[string]any{"type": "send", "room_id": room, "event_type": "m.room.message", "txn_id": "t1", "content": text("over the wire")}
		event := a.asks(send).At("result", "event_id").Text()
		if event == "" {
			t.Fatal("a message was not sent")
		}
		b.sees(event)
		a.sees(event)
		if again := a.asks(send).At("result", "event_id").Text(); again != event {
			t.Errorf("a repeated transaction ID made a new event: %s, then %s", event, again)
		}
		if over := alice.Sends(room, "t1", "over the wire"); over != event {
			t.Errorf("a transaction ID repeated over HTTP made a new event: %s, then %s", event, over)
		}
		topic := a.asks(map[string]any{"type": "send", "room_id": room, "event_type": "m.room.topic", "state_key": "", "content": map[string]any{"topic": "wires"}})
		b.sees(topic.At("result", "event_id").Text())
		refused := b.asks(map[string]any{"type": "send", "room_id": room, "event_type": "m.room.topic", "state_key": "", "content": map[string]any{"topic": "mine"}})
		if refused.At("error", "errcode").Text() != "M_FORBIDDEN" {
			t.Errorf("what the rules forbid is answered by %s", refused)
		}
		gone := a.asks(map[string]any{"type": "send", "room_id": room, "event_type": "m.room.redaction", "txn_id": "t2", "content": map[string]any{"redacts": event}})
		b.sees(gone.At("result", "event_id").Text())
	})
}

func TestTypingAndReceiptsGoBothWays(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		event := alice.Says(room, "read me")
		a, b := opens(t, hs, alice, ""), opens(t, hs, bob, "")
		if f := b.asks(map[string]any{"type": "typing", "room_id": room, "typing": true, "timeout": 30000}); !f.Has("result") {
			t.Errorf("typing is answered by %s", f)
		}
		ephemeral := func() story.JSON { // presence may be pushed before it, by itself
			for {
				if e := a.delta().At("delta", "rooms", "join", room, "ephemeral", "events", 0); e.There() {
					return e
				}
			}
		}
		if e := ephemeral(); e.At("type").Text() != "m.typing" || e.At("content", "user_ids", 0).Text() != bob.ID {
			t.Errorf("typing is pushed as %s", e)
		}
		if f := b.asks(map[string]any{"type": "receipt", "room_id": room, "event_id": event, "receipt_type": "m.read"}); !f.Has("result") {
			t.Errorf("a receipt is answered by %s", f)
		}
		if e := ephemeral(); e.At("type").Text() != "m.receipt" || !e.At("content", event, "m.read", bob.ID).There() {
			t.Errorf("a receipt is pushed as %s", e)
		}
	})
}

func TestSocketsGoOnWhereTheyEnded(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		b := opens(t, hs, bob, "")
		b.sees(alice.Says(room, "before the cut"))
		_ = b.conn.Close()
		missed := []string{alice.Says(room, "one"), alice.Says(room, "two"), alice.Says(room, "three")}
		again := opens(t, hs, bob, b.token)
		again.sees(missed[2])
		if !slices.Equal(again.seen, missed) {
			t.Errorf("after the cut %v was pushed, want %v", again.seen, missed)
		}
		// The tokens are those of /sync.
		bob.SyncsFrom(again.token)
	})
}

func TestGapsCanBeFilledByRange(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		b := opens(t, hs, bob, "", "filter", `{"room":{"timeline":{"limit":2}}}`)
		b.sees(alice.Says(room, "the last before"))
		_ = b.conn.Close()
		var missed []string
		for i := range 9 {
			missed = append(missed, alice.Says(room, fmt.Sprint(i)))
		}
		b = opens(t, hs, bob, b.token, "filter", `{"room":{"timeline":{"limit":2}}}`)
		timeline := b.delta().At("delta", "rooms", "join", room, "timeline")
		first := timeline.At("events", 0, "unsigned", "im.astrocyte.seq").Int()
		if !timeline.At("limited").Bool() || first == 0 {
			t.Fatalf("the timeline is %s", timeline)
		}
		f := b.asks(map[string]any{"type": "range", "room_id": room, "from": first - 7, "to": first - 1})
		if got := f.At("result", "events").Texts("event_id"); !slices.Equal(got, missed[:7]) || f.At("result", "to").Int() != first-1 {
			t.Errorf("the range is %s, want the events %v", f, missed[:7])
		}
		eve := opens(t, hs, hs.User("eve"), "")
		if f := eve.asks(map[string]any{"type": "range", "room_id": room, "from": 1, "to": 9}); f.At("error", "errcode").Text() != "M_FORBIDDEN" {
			t.Errorf("who is not in the room is told %s", f)
		}
	})
}

// windowMost is how many deltas a client is sent that it does not acknowledge.
const windowMost = 16

func TestClientsThatDoNotAcknowledgeCatchUp(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		b := opens(t, hs, bob, "")
		sent, caughtUp := []string{}, false
		for round := 0; !caughtUp; round++ { // on a busy machine the server may look only when there is room again
			if round == 20 {
				t.Fatal("the window was full, but no delta says that it catches up")
			}
			b.acks = false
			for i := range windowMost { // each is a delta, or there is one that has another reason
				sent = append(sent, alice.Says(room, fmt.Sprint(i)))
				b.delta()
			}
			for i := range 8 {
				sent = append(sent, alice.Says(room, fmt.Sprint("late ", i)))
			}
			b.asks(map[string]any{"type": "range", "room_id": room, "from": 1, "to": 1})
			b.acks = true
			b.sends(map[string]any{"type": "ack", "token": b.token})
			for !slices.Contains(b.seen, sent[len(sent)-1]) {
				caughtUp = b.delta().At("catch_up").Bool() || caughtUp
			}
		}
		if got := b.seen[len(b.seen)-len(sent):]; !slices.Equal(got, sent) {
			t.Errorf("what was pushed is %v, want %v", got, sent)
		}
	})
}

func TestSocketsAreForTheirUsers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		stranger := dial(t, hs)
		stranger.sends(map[string]any{"type": "auth", "access_token": "nonsense"})
		if f := stranger.closes(4401); f.At("type").Text() != "error" || f.At("error", "errcode").Text() != "M_UNKNOWN_TOKEN" {
			t.Errorf("a bad token is answered by %s", f)
		}
		rude := dial(t, hs)
		rude.sends(map[string]any{"type": "send", "id": "1"})
		rude.closes(4400)
		garbled := dial(t, hs)
		if err := garbled.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"auth","type":"auth"}`)); err != nil {
			t.Fatal(err)
		}
		garbled.closes(4400)
		lost := dial(t, hs)
		lost.sends(map[string]any{"type": "auth", "access_token": alice.Token, "since": "t12"})
		if f := lost.closes(4401); f.At("error", "errcode").Text() != "M_INVALID_PARAM" {
			t.Errorf("a bad since is answered by %s", f)
		}
		a := opens(t, hs, alice, "")
		if f := a.asks(map[string]any{"type": "dance", "room_id": "!r:localhost"}); f.At("error", "errcode").Text() != "M_UNRECOGNIZED" {
			t.Errorf("an unknown request is answered by %s", f)
		}
		a.sends(map[string]any{"type": "ping", "id": "p"})
		if f := a.answer(); f.At("type").Text() != "pong" || f.At("id").Text() != "p" {
			t.Errorf("a ping is answered by %s", f)
		}
		if r, err := http.Get(hs.URL + "/_matrix/client/unstable/im.astrocyte.sync/ws"); err != nil || r.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("a plain request is answered by %v %v", r, err)
		}
	})
}

func TestLoggingOutEndsTheSocket(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		b := opens(t, hs, bob, "")
		bob.Must("POST", "/logout", `{}`)
		alice.Says(room, "bob is not there any more")
		b.closes(4401)
	})
}

func TestNewerSocketsReplaceOlderOnes(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice := hs.User("alice")
	first := opens(t, hs, alice, "")
	for range 4 {
		opens(t, hs, alice, "")
	}
	first.closes(4409)
}

func TestStoppingSendsClientsAway(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice := hs.User("alice")
	var all []*line
	for range 3 {
		all = append(all, opens(t, hs, alice, ""))
	}
	hs.Stop()
	for _, l := range all {
		if f := l.closes(1012); f.At("type").Text() != "reconnect" || !f.Has("after_ms") {
			t.Errorf("before the stop the client is told %s", f)
		}
	}
}
