package story

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Socket is a user's WebSocket, of the extension that docs/websocket.md describes.
type Socket struct {
	t      testing.TB
	user   *User
	conn   *websocket.Conn
	asked  int
	unread []JSON // sync frames that came while an answer was waited for
}

// Connects opens a WebSocket without logging in on it.
func (u *User) Connects() *Socket {
	u.t.Helper()
	url := "ws" + strings.TrimPrefix(u.server.URL, "http") + "/_matrix/client/unstable/im.astrocyte.sync/ws"
	conn, _, err := websocket.DefaultDialer.DialContext(u.t.Context(), url, nil)
	if err != nil {
		u.t.Fatalf("%s opens a socket: %v", u.Name, err)
	}
	s := &Socket{t: u.t, user: u, conn: conn}
	u.t.Cleanup(func() { conn.Close() })
	return s
}

// Listens opens a WebSocket and logs in on it. What is new comes from the user's last sync on; options are
// further members of the first frame.
func (u *User) Listens(options ...map[string]any) *Socket {
	u.t.Helper()
	s := u.Connects()
	first := map[string]any{"type": "auth", "access_token": u.Token}
	if u.Since != "" {
		first["since"] = u.Since
	}
	for _, o := range options {
		for k, v := range o {
			first[k] = v
		}
	}
	s.Writes(first)
	if f := s.Reads(); f.At("type").Text() != "ready" || f.At("user_id").Text() != u.ID {
		u.t.Fatalf("%s logs in on a socket and is answered %s", u.Name, f)
	}
	return s
}

// Writes sends a frame.
func (s *Socket) Writes(frame any) {
	s.t.Helper()
	if err := s.conn.WriteJSON(frame); err != nil {
		s.t.Fatalf("%s writes to a socket: %v", s.user.Name, err)
	}
}

// Reads reads the next frame.
func (s *Socket) Reads() JSON {
	s.t.Helper()
	f, err := s.read()
	if err != nil {
		s.t.Fatalf("%s reads from a socket: %v", s.user.Name, err)
	}
	return f
}

func (s *Socket) read() (JSON, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return JSON{}, err
	}
	_, text, err := s.conn.ReadMessage()
	if err != nil {
		return JSON{}, err
	}
	return ParseJSON(text)
}

// IsClosed reads until the server closes the socket, and gives its code.
func (s *Socket) IsClosed() int {
	s.t.Helper()
	for {
		_, err := s.read()
		var closed *websocket.CloseError
		switch {
		case err == nil:
		case errors.As(err, &closed):
			return closed.Code
		default:
			s.t.Fatalf("%s waits for the end of a socket: %v", s.user.Name, err)
		}
	}
}

// Delta reads until a sync frame comes and gives it. It is not acknowledged.
func (s *Socket) Delta() JSON {
	s.t.Helper()
	if len(s.unread) > 0 {
		f := s.unread[0]
		s.unread = s.unread[1:]
		return s.takes(f)
	}
	for {
		if f := s.Reads(); f.At("type").Text() == "sync" {
			return s.takes(f)
		}
	}
}

func (s *Socket) takes(f JSON) JSON {
	s.t.Helper()
	if since := f.At("since").Text(); since != s.user.Since {
		s.t.Fatalf("%s is told what came since %q, but was told all up to %q", s.user.Name, since, s.user.Since)
	}
	s.user.Since = f.At("token").Text()
	s.user.takes(f.At("delta"))
	return f
}

// Acks acknowledges all that was told.
func (s *Socket) Acks() {
	s.t.Helper()
	s.Writes(map[string]any{"type": "ack", "token": s.user.Since})
}

// Asks sends a request and gives its answer. Sync frames that come before are kept for Delta.
func (s *Socket) Asks(request map[string]any) JSON {
	s.t.Helper()
	s.asked++
	id := fmt.Sprintf("request %d", s.asked)
	request["id"] = id
	s.Writes(request)
	for {
		f := s.Reads()
		switch {
		case f.At("type").Text() == "sync":
			s.unread = append(s.unread, f)
		case f.At("type").Text() == "answer" && f.At("id").Text() == id:
			return f
		}
	}
}

// Sees reads deltas, and acknowledges them, until a message with the text is in a room's timeline.
func (s *Socket) Sees(room, text string) JSON {
	s.t.Helper()
	for {
		for _, e := range s.user.Timeline(room) {
			if e.At("content", "body").Text() == text {
				return e
			}
		}
		s.Delta()
		s.Acks()
	}
}
