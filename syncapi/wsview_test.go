package syncapi_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

const window = `{"conn_id":"w","lists":{"all":{"range":[0,%d],"timeline_limit":5,"required_state":{"include":[{}],"lazy_members":true}}}%s}`

// slides waits for the next delta of a view, takes it as the line's token and acknowledges it.
func (l *line) slides() story.JSON {
	l.t.Helper()
	f := l.next()
	if f.At("type").Text() != "slide" || f.At("since").Text() != l.token {
		l.t.Fatalf("want a delta of a view since %q, got %s", l.token, f)
	}
	l.token = f.At("token").Text()
	l.sends(map[string]any{"type": "ack", "token": l.token})
	return f.At("delta")
}

func view(l *line, u *story.User, body, since string) {
	l.t.Helper()
	auth := `{"type":"auth","access_token":"` + u.Token + `","view":` + body
	if l.token = since; since != "" {
		auth += `,"since":"` + since + `"`
	}
	if err := l.conn.WriteMessage(websocket.TextMessage, []byte(auth+"}")); err != nil {
		l.t.Fatal(err)
	}
	if f := l.next(); f.At("type").Text() != "ready" {
		l.t.Fatalf("a view is answered by %s", f)
	}
}

// TestSocketsShowViews opens a socket with a view, changes it, cuts it and goes on.
func TestSocketsShowViews(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		rooms := []string{alice.CreatesRoom(), alice.CreatesRoom(), alice.CreatesRoom()}
		for _, room := range rooms {
			bob.Joins(room)
		}
		l := dial(t, hs)
		view(l, bob, fmt.Sprintf(window, 0, ""), "")
		if a := l.slides(); !slices.Equal(a.At("rooms").Keys(), rooms[2:]) || a.At("lists", "all", "count").Int() != 3 {
			t.Fatalf("the first delta of a view is %s", a)
		}
		l.sends(map[string]any{"type": "view", "id": "v", "view": story.JSON{}})
		if f := l.next(); !f.Has("error") {
			t.Errorf("a view that is none is answered by %s", f)
		}
		if err := l.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"view","id":"v","view":`+fmt.Sprintf(window, 9, "")+`}`)); err != nil {
			t.Fatal(err)
		}
		if f := l.next(); f.At("type").Text() == "answer" {
			if !f.Has("result") {
				t.Fatalf("another view is answered by %s", f)
			}
			if got := l.slides().At("rooms").Keys(); len(got) != 2 {
				t.Errorf("the larger view shows %v", got)
			}
		} else { // the delta was quicker
			l.token = f.At("token").Text()
			l.next()
		}
		sent := alice.Says(rooms[0], "hello")
		for a := l.slides(); a.At("rooms", rooms[0], "timeline", 0, "event_id").Text() != sent; a = l.slides() {
		}
		_ = l.conn.Close()
		missed := alice.Says(rooms[1], "after the cut")
		again := dial(t, hs)
		view(again, bob, fmt.Sprintf(window, 9, ""), l.token)
		a := again.slides()
		if got := a.At("rooms").Keys(); !slices.Equal(got, rooms[1:2]) || a.At("rooms", rooms[1], "timeline", 0, "event_id").Text() != missed || a.At("rooms", rooms[1], "notification_count").Int() != 1 {
			t.Errorf("after the cut the view shows %s", a.At("rooms"))
		}
		lost := dial(t, hs)
		lost.sends(map[string]any{"type": "auth", "access_token": bob.Token, "since": "p1_1_1_1_1_1_1_0", "view": map[string]any{}})
		if f := lost.closes(4401); f.At("error", "errcode").Text() != "M_UNKNOWN_POS" {
			t.Errorf("a position that is not known is answered by %s", f)
		}
	})
}

// TestSendersAreToldOfDelivery acknowledges a message and looks who is told.
func TestSendersAreToldOfDelivery(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom()
		bob.Joins(room)
		carol.Joins(room)
		a, b := opens(t, hs, alice, "", "delivered", "true"), opens(t, hs, bob, "", "delivered", "true")
		c := opens(t, hs, carol, "") // who does not tell
		event := alice.Says(room, "did it arrive?")
		b.sees(event)
		c.sees(event)
		if f := a.answer(); f.At("type").Text() != "delivered" || f.At("room_id").Text() != room || f.At("event_ids", 0).Text() != event || f.At("user_id").Text() != bob.ID {
			t.Errorf("the sender is told %s", f)
		}
	})
}

// TestSocketsAreBounded sends too much in each way.
func TestSocketsAreBounded(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice := hs.User("alice")
	large := opens(t, hs, alice, "")
	large.sends(map[string]any{"type": "ping", "id": strings.Repeat("x", 300<<10)})
	large.closes(websocket.CloseMessageTooBig)

	bomb := opens(t, hs, alice, "")
	sendsCompressed(t, bomb, append(append([]byte(`{"type":"ping","id":"`), bytes.Repeat([]byte("x"), 8<<20)...), `"}`...))
	bomb.closes(websocket.CloseMessageTooBig)

	flood := opens(t, hs, alice, "")
	for range 2000 {
		if flood.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"pong"}`)) != nil {
			break
		}
	}
	flood.closes(4412)

	future := opens(t, hs, alice, "")
	future.sends(map[string]any{"type": "ack", "token": "s1_999999_0_0"})
	future.sends(map[string]any{"type": "ping", "id": "still there"})
	if f := future.answer(); f.At("type").Text() != "pong" {
		t.Errorf("after an ack of the future comes %s", f)
	}

	url := "ws" + strings.TrimPrefix(hs.URL, "http") + "/_matrix/client/unstable/im.astrocyte.sync/ws"
	var silent []*websocket.Conn
	for { // the server closes those that were silent for long, so on a slow machine there are more of them
		conn, refused, err := websocket.DefaultDialer.Dial(url, nil)
		if err != nil {
			if len(silent) < 64 || refused == nil || refused.StatusCode != http.StatusTooManyRequests {
				t.Errorf("after %d connections that have not logged in, one more is answered %v %v", len(silent), refused, err)
			}
			break
		}
		t.Cleanup(func() { _ = conn.Close() })
		if silent = append(silent, conn); len(silent) == 10_000 {
			t.Fatal("connections that have not logged in have no bound")
		}
	}
	for _, conn := range silent {
		_ = conn.Close()
	}
	for end := time.Now().Add(patience); ; {
		conn, _, err := websocket.DefaultDialer.Dial(url, nil)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("when they are gone there is no room for another")
		}
	}
}

// sendsCompressed sends a text message whose compressed form is small, as permessage-deflate has it.
func sendsCompressed(t *testing.T, l *line, text []byte) {
	t.Helper()
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(text)
	if err := errors.Join(err, z.Flush()); err != nil {
		t.Fatal(err)
	}
	payload := bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
	head := []byte{0x80 | 0x40 | websocket.TextMessage, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0} // masked by zeros
	if _, err := l.conn.NetConn().Write(append(head, payload...)); err != nil {
		t.Fatal(err)
	}
}
