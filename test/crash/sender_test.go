package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"astrocyte/testkit/story"
)

// message is what a sender wanted to send, and what it was told.
type message struct {
	room, txn string
	event     string // as acknowledged; empty where no answer came
}

// sender sends one message after the other, by HTTP or by WebSocket, until the server is gone.
type sender struct {
	user   *account
	socket bool

	messages     []*message // in the order of sending
	acknowledged atomic.Int64
	receipts     map[string]string // by room: the event up to which it said to have read, acknowledged
	fault        error
}

func (s *sender) run(ctx context.Context, rooms []string) {
	send := s.byHTTP
	if s.socket {
		conn, err := dial(ctx, s.user, "")
		if err != nil {
			if ctx.Err() == nil {
				s.fault = fmt.Errorf("open a socket: %w", err)
			}
			return
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		send = func(ctx context.Context, m *message) (string, error) { return s.bySocket(conn, m) }
	}
	for n := 0; ctx.Err() == nil; n++ {
		m := &message{room: rooms[rand.N(len(rooms))], txn: fmt.Sprintf("n%d", len(s.messages))}
		s.messages = append(s.messages, m)
		event, err := send(ctx, m)
		if err != nil {
			return
		}
		m.event = event
		s.acknowledged.Add(1)
		if n%7 == 0 && s.reads(ctx, m) != nil {
			return
		}
	}
}

// text is what a message says: enough to know it again.
func (s *sender) text(m *message) string { return s.user.id + " " + m.txn }

func (s *sender) content(m *message) map[string]any {
	return map[string]any{"msgtype": "m.text", "body": s.text(m)}
}

func (s *sender) byHTTP(ctx context.Context, m *message) (string, error) {
	path := story.Path("rooms", m.room, "send", "m.room.message", m.txn)
	a, err := s.user.call(ctx, "PUT", path, s.content(m))
	if err != nil {
		return "", err
	}
	if a.Status != http.StatusOK {
		s.fault = fmt.Errorf("send %s: status %d: %s", m.txn, a.Status, a)
		return "", s.fault
	}
	return a.At("event_id").Text(), nil
}

// reads tells that the sender has read up to its own message.
func (s *sender) reads(ctx context.Context, m *message) error {
	a, err := s.user.call(ctx, "POST", story.Path("rooms", m.room, "receipt", "m.read", m.event), map[string]any{})
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		s.fault = fmt.Errorf("receipt: status %d: %s", a.Status, a)
		return s.fault
	}
	s.receipts[m.room] = m.event
	return nil
}

// dial opens a WebSocket and logs in. filter may be empty.
func dial(ctx context.Context, u *account, since string) (*websocket.Conn, error) {
	url := "ws" + strings.TrimPrefix(u.p.url, "http") + "/_matrix/client/unstable/im.astrocyte.sync/ws"
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	auth := map[string]any{"type": "auth", "access_token": u.token, "filter": map[string]any{
		"room": map[string]any{"timeline": map[string]any{"limit": 100}},
	}}
	if since != "" {
		auth["since"] = since
	}
	if err := conn.WriteJSON(auth); err != nil {
		conn.Close()
		return nil, err
	}
	f, err := readFrame(conn)
	if err == nil && f.At("type").Text() != "ready" {
		err = fmt.Errorf("the answer to auth is %s", f)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func readFrame(conn *websocket.Conn) (story.JSON, error) {
	if err := conn.SetReadDeadline(time.Now().Add(45 * time.Second)); err != nil {
		return story.JSON{}, err
	}
	_, text, err := conn.ReadMessage()
	if err != nil {
		return story.JSON{}, err
	}
	return story.ParseJSON(text)
}

// bySocket sends a message over a socket, and reads until its answer.
func (s *sender) bySocket(conn *websocket.Conn, m *message) (string, error) {
	err := conn.WriteJSON(map[string]any{
		"type": "send", "id": m.txn, "room_id": m.room, "event_type": "m.room.message", "txn_id": m.txn, "content": s.content(m),
	})
	for err == nil {
		var f story.JSON
		if f, err = readFrame(conn); err != nil {
			break
		}
		switch f.At("type").Text() {
		case "sync":
			err = conn.WriteJSON(map[string]any{"type": "ack", "token": f.At("token").Text()})
		case "ping":
			err = conn.WriteJSON(map[string]any{"type": "pong"})
		case "answer":
			if f.At("id").Text() != m.txn || f.At("result", "event_id").Text() == "" {
				s.fault = fmt.Errorf("send %s over a socket: %s", m.txn, f)
				return "", s.fault
			}
			return f.At("result", "event_id").Text(), nil
		case "error":
			s.fault = fmt.Errorf("send %s over a socket: %s", m.txn, f)
			return "", s.fault
		}
	}
	return "", err
}
