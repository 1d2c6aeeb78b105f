package syncapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
)

// The times of a socket.
const (
	authTime  = 10 * time.Second // for the first frame
	writeTime = 20 * time.Second // for the client to take one frame
	heartbeat = 30 * time.Second // the server speaks at least so often
	silence   = 75 * time.Second // and so does the client
)

// compressFrom is how long a frame is that is worth compressing, in bytes.
const compressFrom = 1024

// socket is one WebSocket. At rest it holds no goroutine and no buffer: what moves it starts one (see socketlife.go).
// At most one at a time reads frames and answers requests, one after the other, and one pushes what is new. What they
// write is kept apart by a lock, and nothing is queued: who has to wait for the client waits.
type socket struct {
	a       *API
	conn    *websocket.Conn
	frames  *frameConn
	watched *httpapi.Watched // nil: a goroutine waits for the next frame
	from    httpapi.Kept     // what authentication wants to know of the request
	ctx     context.Context
	cancel  context.CancelFunc

	viewer        roomserver.Viewer // set by claim, before anything is pushed
	caller        *httpapi.Caller
	token         string
	tellsDelivery bool // the client wants to know of deliveries, and tells of them; set by login

	// Of the goroutine that pushes:
	asks       question
	devices    int64     // messages to the device are told up to here
	beat, look time.Time // when it speaks next, and when it looks by itself

	budget int64 // of the goroutine that reads: how many frames more it takes now

	writing sync.Mutex
	parted  atomic.Bool // a close frame was sent

	mu      sync.Mutex
	life    life
	view    *slidingView // what of the rooms is shown; nil: all of them are told
	acked   pushed
	pending []pushed  // told and not acknowledged, oldest first
	stalled time.Time // since when the window is full; zero: it is not
}

func newSocket(a *API, conn *websocket.Conn, frames *frameConn, r *http.Request, c *httpapi.Caller) *socket {
	ctx, cancel := context.WithCancel(context.Background()) // the request ends before the socket does
	s := &socket{
		a: a, conn: conn, frames: frames, from: httpapi.Keep(r), ctx: ctx, cancel: cancel,
		caller: &httpapi.Caller{IP: c.IP, Request: c.Request}, budget: floodBurst,
	}
	s.life.pushing = true // not before the login
	s.watched = httpapi.Watch(r, frames.Conn, func() { s.run(s.serve) })
	return s
}

// login reads the first frame.
func (s *socket) login() error {
	defer s.a.sockets.loggedIn(s.caller.IP)
	s.conn.SetReadLimit(frameMost)
	_ = s.conn.SetReadDeadline(time.Now().Add(authTime))
	f, err := s.read()
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		s.part(closeNoAuth, "the first frame did not come in time")
		return err
	case err != nil:
		return err
	case f.Type != "auth":
		s.part(closeBadFrame, "the first frame must be auth")
		return errFrame
	}
	if err := s.authenticate(f); err != nil {
		return err
	}
	return s.write(readyFrame{
		Type: "ready", User: s.viewer.User, Device: s.viewer.Device,
		HeartbeatMS: heartbeat.Milliseconds(), Window: windowMost, FrameMost: frameMost,
	})
}

// authenticate finds who the client is, and what it wants to be told.
func (s *socket) authenticate(f *frame) error {
	s.token = f.AccessToken
	if err := s.admit(); err != nil {
		return err
	}
	if len(f.View) > 0 {
		return s.authenticateView(f)
	}
	filter, _ := canonicaljson.Text(f.Filter) // an id, or an object
	if filter == "" && len(f.Filter) > 0 && f.Filter[0] == '{' {
		filter = string(f.Filter)
	}
	req := &syncRequest{filter: filter, since: f.Since, setPresence: f.SetPresence}
	if f.UseStateAfter {
		req.after = stateAtEnd
	}
	p, err := s.a.prepare(s.ctx, s.caller, req)
	if err != nil {
		return err
	}
	s.asks, s.acked = p.question, pushed{text: f.Since, token: p.since}
	s.claim(f, p.viewer)
	return nil
}

// claim gives the socket to its user.
func (s *socket) claim(f *frame, v roomserver.Viewer) {
	s.tellsDelivery = f.Delivered
	s.a.sockets.claim(s, v)
}

// admit says whether the token is still good.
func (s *socket) admit() error {
	if s.token == "" {
		return matrix.E(matrix.CodeMissingToken, "an access token is needed")
	}
	c, err := s.a.admitted(s.ctx, s.token, s.from.Request(s.ctx))
	if err == nil && c.Guest {
		err = matrix.E(matrix.CodeGuestAccessForbidden, "guests cannot do this")
	}
	if err != nil {
		return err
	}
	c.IP, c.Request = s.caller.IP, s.caller.Request
	s.caller = c
	return nil
}

var errFrame = errors.New("the frame is not of the described form")

// read reads the next frame. Any frame shows that the client lives.
func (s *socket) read() (*frame, error) {
	kind, text, err := s.readText()
	if err != nil {
		return nil, err
	}
	f := new(frame)
	if kind != websocket.TextMessage || canonicaljson.Check(text, canonicaljson.Loose) != nil || json.Unmarshal(text, f) != nil {
		s.part(closeBadFrame, "a frame must be a JSON object of the described form")
		return nil, errFrame
	}
	return f, nil
}

// readText reads the next message. What is compressed is bounded by what it comes to.
func (s *socket) readText() (kind int, text []byte, err error) {
	kind, r, err := s.conn.NextReader()
	if err != nil {
		return kind, nil, err
	}
	text, err = io.ReadAll(io.LimitReader(r, frameMost+1))
	if err == nil && len(text) > frameMost {
		s.part(websocket.CloseMessageTooBig, "a frame is too large")
		err = websocket.ErrReadLimit
	}
	return kind, text, err
}

// write sends a frame. A client that does not take it in time is lost.
func (s *socket) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.writeText(text)
}

func (s *socket) writeText(text []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	socketBytes.Add(float64(len(text)))
	s.conn.EnableWriteCompression(len(text) >= compressFrom)
	return s.conn.WriteMessage(websocket.TextMessage, text)
}

// fail tells the client why it cannot go on, and ends the socket. What is wrong with the connection, or was
// told already, is not told.
func (s *socket) fail(err error) {
	var broken net.Error
	var closed *websocket.CloseError
	switch {
	case s.ctx.Err() != nil, s.parted.Load(), errors.As(err, &broken), errors.As(err, &closed), errors.Is(err, websocket.ErrCloseSent), errors.Is(err, websocket.ErrReadLimit):
		return
	}
	body, theirs := faultOf(err)
	code := closeRefused
	if !theirs {
		code = closeInternal
		s.a.log.Error("serve a socket", "user", s.viewer.User, "request", s.caller.Request, "err", err)
	}
	_ = s.write(plainFrame{Type: "error", MatrixError: body})
	s.part(code, "see the error frame")
}

// part sends the close frame.
func (s *socket) part(code int, reason string) {
	if s.parted.Swap(true) {
		return
	}
	socketEnds.WithLabelValues(closeName(code)).Inc()
	text := websocket.FormatCloseMessage(code, reason[:min(len(reason), maxReasonLength)])
	_ = s.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(time.Second))
}
