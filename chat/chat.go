// Package chat is a small client of the WebSocket extension: a reference for those who write one, and what the
// command astrocyte chat is made of. docs/websocket.md describes what goes over the wire.
//
// Invariants:
//   - what a delta tells is handed on before it is acknowledged, so that nothing is lost where the client ends;
//   - along a chain of tokens each event is handed on once: where a connection breaks, the next one begins with the
//     token of the last delta that was handed on;
//   - a request that was not answered before a cut is sent again with its transaction id.
package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	path       = "/_matrix/client/unstable/im.astrocyte.sync/ws"
	dialTime   = 20 * time.Second
	writeTime  = 20 * time.Second
	pauseFirst = time.Second
	pauseMost  = time.Minute
	frameMost  = 64 << 20 // bytes of one delta
)

// Options say who the client is.
type Options struct {
	Server string // its base URL, such as https://matrix.example.org
	Token  string // an access token
	Since  string // the token of the last delta that was handed on before; empty: begin anew
	// Delivered has the server tell when the user's events reach others, and others when theirs reach the user.
	Delivered bool
	// Take is given each event and delivery in its order. It is called by one goroutine.
	Take func(Told)
	// Pause waits between two attempts to connect; nil: the clock does.
	Pause func(ctx context.Context, d time.Duration) error
}

// Told is one thing that the server told. Which members count depends on Kind.
type Told struct {
	Kind   string // ready, event, delivered
	Room   string
	Event  Event
	Late   bool     // event: it belongs before others that were handed on
	Events []string // delivered: ids
	User   string   // ready: who the client is; delivered: to whom
	Token  string   // up to where all is told, once this is taken
}

// Event is an event of a room's timeline.
type Event struct {
	ID       string          `json:"event_id"`
	Type     string          `json:"type"`
	Sender   string          `json:"sender"`
	StateKey *string         `json:"state_key"`
	Content  json.RawMessage `json:"content"`
	TS       int64           `json:"origin_server_ts"`
	Unsigned struct {
		Seq int64 `json:"im.astrocyte.seq"`
	} `json:"unsigned"`
}

// Text is what a message says; empty for other events.
func (e *Event) Text() string {
	var c struct {
		Body string `json:"body"`
	}
	if e.Type != "m.room.message" || json.Unmarshal(e.Content, &c) != nil {
		return ""
	}
	return c.Body
}

// Client is a client of one user.
type Client struct {
	o     Options
	since string
	seq   map[string]int64 // by room: of the newest event that was handed on

	mu      sync.Mutex
	conn    *websocket.Conn
	asked   int64
	waiting map[string]*request // sent and not answered
	writing sync.Mutex
}

// request waits for its answer.
type request struct {
	frame  map[string]any
	answer chan answer // holds one
	gap    *gap        // the request asks for what is missing; nil: it is one of the user's
}

// gap is what is missing of a room's timeline.
type gap struct {
	room     string
	from, to int64
}

type answer struct {
	Result json.RawMessage `json:"result"`
	Error  *Fault          `json:"error"`
}

// Fault is an error that the server answered with.
type Fault struct {
	Code    string `json:"errcode"`
	Message string `json:"error"`
}

func (f *Fault) Error() string { return f.Code + ": " + f.Message }

// New makes a client. Run connects it.
func New(o Options) *Client {
	if o.Pause == nil {
		o.Pause = pause
	}
	return &Client{o: o, since: o.Since, seq: make(map[string]int64), waiting: make(map[string]*request)}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run stays connected until ctx ends, or the server says that the user may not be.
func (c *Client) Run(ctx context.Context) error {
	wait := pauseFirst
	for {
		came, err := c.live(ctx)
		var refused *Fault
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused):
			return err
		case came.lived:
			wait = pauseFirst
		}
		if came.after > 0 {
			wait = came.after
		}
		if c.o.Pause(ctx, wait) != nil {
			return nil
		}
		wait = min(2*wait, pauseMost)
	}
}

// end is how a connection ended.
type end struct {
	lived bool          // it was logged in
	after time.Duration // the server said when to come back
}

// live is one connection: log in, send again what was not answered, and take what is told until it breaks.
func (c *Client) live(ctx context.Context) (end, error) {
	var e end
	base, err := url.Parse(c.o.Server)
	if err != nil {
		return e, &Fault{"M_INVALID_PARAM", "the server's address is none: " + err.Error()}
	}
	base.Scheme = map[string]string{"http": "ws", "https": "wss"}[base.Scheme]
	base.Path = strings.TrimSuffix(base.Path, "/") + path
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, EnableCompression: true}
	conn, answered, err := dialer.DialContext(dialing, base.String(), nil)
	if answered != nil {
		defer answered.Body.Close()
	}
	if err != nil {
		return e, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	conn.SetReadLimit(frameMost)
	if err := c.write(conn, map[string]any{"type": "auth", "access_token": c.o.Token, "since": c.since, "delivered": c.o.Delivered}); err != nil {
		return e, err
	}
	silence := dialTime
	for {
		_ = conn.SetReadDeadline(time.Now().Add(silence))
		f, err := read(conn)
		if err != nil {
			c.lose(conn)
			return e, err
		}
		switch f.Type {
		case "ready":
			e.lived, silence = true, 2*time.Duration(f.HeartbeatMS)*time.Millisecond+dialTime
			c.o.Take(Told{Kind: "ready", User: f.User, Token: c.since})
			err = c.take(conn)
		case "reconnect":
			e.after = time.Duration(f.AfterMS) * time.Millisecond
		case "error":
			if f.Error != nil {
				return e, f.Error
			}
		default:
			err = c.handle(conn, f)
		}
		if err != nil {
			c.lose(conn)
			return e, err
		}
	}
}

// frame is what the server sends.
type frame struct {
	Type        string          `json:"type"`
	ID          string          `json:"id"`
	User        string          `json:"user_id"`
	HeartbeatMS int64           `json:"heartbeat_ms"`
	AfterMS     int64           `json:"after_ms"`
	Error       *Fault          `json:"error"`
	Result      json.RawMessage `json:"result"`
	Token       string          `json:"token"`
	Room        string          `json:"room_id"`
	Events      []string        `json:"event_ids"`
	Delta       struct {
		Rooms struct {
			Join map[string]struct {
				Timeline struct {
					Events  []Event `json:"events"`
					Limited bool    `json:"limited"`
				} `json:"timeline"`
			} `json:"join"`
		} `json:"rooms"`
	} `json:"delta"`
}

func read(conn *websocket.Conn) (*frame, error) {
	_, text, err := conn.ReadMessage()
	if err != nil {
		return nil, err
	}
	f := new(frame)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("read a frame: %w", err)
	}
	return f, nil
}

func (c *Client) write(conn *websocket.Conn, frame any) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = conn.SetWriteDeadline(time.Now().Add(writeTime))
	return conn.WriteJSON(frame)
}

// take makes a connection the one that requests go over, and sends again what was not answered.
func (c *Client) take(conn *websocket.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	for _, r := range c.waiting {
		if err := c.write(conn, r.frame); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) lose(conn *websocket.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		c.conn = nil
	}
}

func (c *Client) handle(conn *websocket.Conn, f *frame) error {
	switch f.Type {
	case "ping":
		return c.write(conn, map[string]string{"type": "pong"})
	case "answer":
		c.mu.Lock()
		r := c.waiting[f.ID]
		delete(c.waiting, f.ID)
		c.mu.Unlock()
		switch {
		case r == nil:
		case r.gap != nil:
			return c.fill(conn, r.gap, answer{f.Result, f.Error})
		default:
			r.answer <- answer{f.Result, f.Error}
		}
	case "delivered":
		c.o.Take(Told{Kind: "delivered", Room: f.Room, Events: f.Events, User: f.User, Token: c.since})
	case "sync":
		return c.delta(conn, f)
	}
	return nil // what is not known is passed over
}

// delta hands on what a delta tells, and acknowledges it. Where numbers are missing before a room's timeline, what
// is between is asked for.
func (c *Client) delta(conn *websocket.Conn, f *frame) error {
	for room, joined := range f.Delta.Rooms.Join {
		for i, e := range joined.Timeline.Events {
			seq, last := e.Unsigned.Seq, c.seq[room]
			if i == 0 && joined.Timeline.Limited && last > 0 && seq > last+1 {
				if err := c.repair(conn, room, last+1, seq-1); err != nil {
					return err
				}
			}
			c.seq[room] = max(last, seq)
			c.o.Take(Told{Kind: "event", Room: room, Event: e, Token: f.Token})
		}
	}
	c.since = f.Token
	return c.write(conn, map[string]string{"type": "ack", "token": f.Token})
}

// repair asks for a part of a room's timeline. The answer is handed on when it comes.
func (c *Client) repair(conn *websocket.Conn, room string, from, to int64) error {
	c.mu.Lock()
	r := c.request(map[string]any{"type": "range", "room_id": room, "from": from, "to": to})
	r.gap = &gap{room, from, to}
	c.mu.Unlock()
	return c.write(conn, r.frame)
}

// fill hands on what was missing, and asks for more where the answer is not all of it.
func (c *Client) fill(conn *websocket.Conn, g *gap, a answer) error {
	var got struct {
		To     int64   `json:"to"`
		Events []Event `json:"events"`
	}
	if a.Error != nil || json.Unmarshal(a.Result, &got) != nil {
		return nil // such as where the user has left the room: what they may not see is not missing
	}
	for _, e := range got.Events {
		c.o.Take(Told{Kind: "event", Room: g.room, Event: e, Late: true, Token: c.since})
	}
	if got.To >= g.from && got.To < g.to {
		return c.repair(conn, g.room, got.To+1, g.to)
	}
	return nil
}

// request makes a request that waits for its answer. The lock is held.
func (c *Client) request(frame map[string]any) *request {
	c.asked++
	id := fmt.Sprint("r", c.asked)
	frame["id"] = id
	r := &request{frame: frame, answer: make(chan answer, 1)}
	c.waiting[id] = r
	return r
}

// Ask sends a request and waits for its answer, over as many connections as that takes. What the server refuses is
// a *Fault.
func (c *Client) Ask(ctx context.Context, frame map[string]any) (json.RawMessage, error) {
	c.mu.Lock()
	r := c.request(frame)
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		_ = c.write(conn, r.frame) // where it fails the next connection sends it again
	}
	select {
	case a := <-r.answer:
		if a.Error != nil {
			return nil, a.Error
		}
		return a.Result, nil
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, fmt.Sprint(frame["id"]))
		c.mu.Unlock()
		return nil, ctx.Err()
	}
}

// Send sends a text message and gives its event's ID. txn names it: sent again, it is the same message.
func (c *Client) Send(ctx context.Context, room, txn, text string) (string, error) {
	result, err := c.Ask(ctx, map[string]any{
		"type": "send", "room_id": room, "event_type": "m.room.message", "txn_id": txn,
		"content": map[string]string{"msgtype": "m.text", "body": text},
	})
	if err != nil {
		return "", err
	}
	var sent struct {
		Event string `json:"event_id"`
	}
	return sent.Event, json.Unmarshal(result, &sent)
}

// Read tells others that the user has read a room up to an event.
func (c *Client) Read(ctx context.Context, room, event string) error {
	_, err := c.Ask(ctx, map[string]any{"type": "receipt", "room_id": room, "event_id": event, "receipt_type": "m.read"})
	return err
}

// Types tells others that the user types.
func (c *Client) Types(ctx context.Context, room string, types bool) error {
	_, err := c.Ask(ctx, map[string]any{"type": "typing", "room_id": room, "typing": types, "timeout": 30_000})
	return err
}
