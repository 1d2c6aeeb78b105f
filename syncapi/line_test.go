package syncapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"astrocyte/testkit/story"
)

// patience is how long a frame is waited for before the test fails. It is no measure of the server.
const patience = 2 * time.Minute

// line is the client's end of a WebSocket.
type line struct {
	t     *testing.T
	conn  *websocket.Conn
	token string // of the newest delta
	seen  []string
	acks  bool
	asked int
}

func dial(t *testing.T, hs *story.Server) *line {
	t.Helper()
	url := "ws" + strings.TrimPrefix(hs.URL, "http") + "/_matrix/client/unstable/im.astrocyte.sync/ws"
	dialer := websocket.Dialer{EnableCompression: true}
	conn, _, err := dialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &line{t: t, conn: conn, acks: true}
}

// opens opens a socket of a user, from a token on, and takes the first delta where there is none.
func opens(t *testing.T, hs *story.Server, u *story.User, since string, more ...string) *line {
	t.Helper()
	l := dial(t, hs)
	auth := map[string]any{"type": "auth", "access_token": u.Token}
	if since != "" {
		auth["since"] = since
		l.token = since
	}
	for pair := range slices.Chunk(more, 2) {
		auth[pair[0]] = json.RawMessage(pair[1])
	}
	l.sends(auth)
	if f := l.next(); f.At("type").Text() != "ready" || f.At("user_id").Text() != u.ID || f.At("device_id").Text() != u.Device {
		t.Fatalf("a good token is answered by %s", f)
	}
	if since == "" {
		l.delta()
	}
	return l
}

func (l *line) sends(frame any) {
	l.t.Helper()
	if err := l.conn.WriteJSON(frame); err != nil {
		l.t.Fatal(err)
	}
}

// next reads a frame. Heartbeats are answered on the way.
func (l *line) next() story.JSON {
	l.t.Helper()
	for {
		_ = l.conn.SetReadDeadline(time.Now().Add(patience))
		_, text, err := l.conn.ReadMessage()
		if err != nil {
			l.t.Fatalf("wait for a frame: %v", err)
		}
		f, err := story.ParseJSON(text)
		if err != nil {
			l.t.Fatalf("a frame is not JSON: %q", text)
		}
		if f.At("type").Text() != "ping" {
			return f
		}
		l.sends(map[string]any{"type": "pong"})
	}
}

// take follows a delta, and checks that it follows the one before.
func (l *line) take(f story.JSON) {
	l.t.Helper()
	if got := f.At("since").Text(); got != l.token {
		l.t.Fatalf("a delta follows %q, the client has %q", got, l.token)
	}
	l.token = f.At("token").Text()
	if l.token == "" || f.At("delta", "next_batch").Text() != l.token {
		l.t.Fatalf("a delta has the token %q: %s", l.token, f)
	}
	for _, room := range f.At("delta", "rooms", "join").Keys() {
		for _, e := range f.At("delta", "rooms", "join", room, "timeline", "events").List() {
			id := e.At("event_id").Text()
			if slices.Contains(l.seen, id) {
				l.t.Fatalf("%s was pushed twice", id)
			}
			l.seen = append(l.seen, id)
		}
	}
	if l.acks {
		l.sends(map[string]any{"type": "ack", "token": l.token})
	}
}

// delta waits for the next delta.
func (l *line) delta() story.JSON {
	l.t.Helper()
	f := l.next()
	if f.At("type").Text() != "sync" {
		l.t.Fatalf("want a delta, got %s", f)
	}
	l.take(f)
	return f
}

// sees waits for an event.
func (l *line) sees(event string) {
	l.t.Helper()
	for !slices.Contains(l.seen, event) {
		l.delta()
	}
}

// answer waits for a frame that is no delta. Those are taken on the way.
func (l *line) answer() story.JSON {
	l.t.Helper()
	for {
		f := l.next()
		if f.At("type").Text() != "sync" {
			return f
		}
		l.take(f)
	}
}

// asks sends a request and waits for its answer. Deltas are taken on the way.
func (l *line) asks(request map[string]any) story.JSON {
	l.t.Helper()
	l.asked++
	id := fmt.Sprint("r", l.asked)
	request["id"] = id
	l.sends(request)
	f := l.answer()
	if f.At("type").Text() != "answer" || f.At("id").Text() != id {
		l.t.Fatalf("want an answer to %s, got %s", id, f)
	}
	return f
}

// closes waits for the end, and checks its code. Frames are read on the way, and the last one is given.
func (l *line) closes(code int) story.JSON {
	l.t.Helper()
	var last story.JSON
	for {
		_ = l.conn.SetReadDeadline(time.Now().Add(patience))
		_, text, err := l.conn.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			if closed.Code != code {
				l.t.Fatalf("the socket was closed with %d %s, want %d", closed.Code, closed.Text, code)
			}
			return last
		case err != nil:
			l.t.Fatalf("wait for the end: %v", err)
		}
		last, _ = story.ParseJSON(text)
	}
}
