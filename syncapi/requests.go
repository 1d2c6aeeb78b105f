package syncapi

import (
	"errors"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"astrocyte/ephemeral"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// rangeMost is how many places of a timeline one range request covers.
const rangeMost = 500

// typingMost bounds for how long a client may say that it types.
const typingMost = 2 * time.Minute

// serve reads frames and answers requests, in their order, as long as there are some.
func (s *socket) serve() error {
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(silence))
		f, err := s.read()
		if err != nil {
			s.noteEnd(err)
			return err
		}
		if s.flooded(time.Now()) {
			s.part(closeFlood, "too many frames")
			return errFrame
		}
		if err := s.handle(f); err != nil {
			return err
		}
		if s.waits() {
			return nil
		}
	}
}

// noteEnd tells a client that was silent for too long, and counts one that left.
func (s *socket) noteEnd(err error) {
	var late net.Error
	var left *websocket.CloseError
	switch {
	case errors.As(err, &late) && late.Timeout():
		s.part(closeSilent, "nothing came in time")
	case errors.As(err, &left):
		s.part(closeNormal, "")
	}
}

// handle does what a frame asks, and answers it. The error is that of the socket.
func (s *socket) handle(f *frame) error {
	framesRead.WithLabelValues(frameName(f.Type)).Inc()
	switch f.Type {
	case "pong":
		return nil
	case "ping":
		return s.write(plainFrame{Type: "pong", ID: f.ID})
	case "ack":
		if err := s.ack(f.Token); err != nil {
			s.part(closeBadFrame, "an ack needs a token that was told")
			return err
		}
		return nil
	}
	answer := answerFrame{Type: "answer", ID: f.ID}
	result, err := s.answer(f)
	if err != nil {
		body, theirs := faultOf(err)
		if !theirs && s.ctx.Err() == nil {
			s.a.log.Error("answer over a socket", "user", s.viewer.User, "request", s.caller.Request, "frame", f.Type, "err", err)
		}
		answer.Error = body
	} else {
		answer.Result = result
	}
	return s.write(answer)
}

// answer answers a request.
func (s *socket) answer(f *frame) (any, error) {
	if f.ID == "" || len(f.ID) > requestIDLongest {
		return nil, matrix.InvalidParam("a request needs an id of 1 to %d bytes", requestIDLongest)
	}
	c, err := s.a.admitted(s.ctx, s.token, s.from.Request(s.ctx))
	if err != nil {
		return nil, err
	}
	if f.Type == "view" {
		return s.changeView(f)
	}
	if _, err := matrix.ParseRoomID(string(f.RoomID)); err != nil {
		return nil, err
	}
	class := "ephemeral"
	if f.Type == "send" {
		class = "message"
	}
	if err := s.a.limiter.Caller(class, c); err != nil {
		return nil, err
	}
	switch f.Type {
	case "send":
		return s.sendEvent(c, f)
	case "typing":
		if c.Suspended {
			return nil, matrix.E(matrix.CodeUserSuspended, "this account is suspended")
		}
		if c.Shadowed {
			return struct{}{}, nil
		}
		timeout := time.Duration(min(max(f.Timeout, 0), typingMost.Milliseconds())) * time.Millisecond
		return struct{}{}, s.a.ephemeral.SetTyping(s.ctx, s.viewer.User, f.RoomID, f.Typing, timeout)
	case "receipt":
		return struct{}{}, s.a.ephemeral.Mark(s.ctx, ephemeral.Reading{
			User: s.viewer.User, Room: f.RoomID, Type: f.ReceiptType, Event: f.EventID, Thread: f.ThreadID,
		})
	case "range":
		return s.readRange(f)
	}
	return nil, matrix.E(matrix.CodeUnrecognized, "there is no request of that type")
}

type sendResult struct {
	EventID matrix.EventID `json:"event_id"`
}

// sendEvent sends a message or state event. A transaction id is the same one as over HTTP: a client may
// repeat over one what it sent over the other.
func (s *socket) sendEvent(c *httpapi.Caller, f *frame) (*sendResult, error) {
	if len(f.Content) == 0 || f.Content[0] != '{' || f.EventType == "" {
		return nil, matrix.BadJSON("send needs an event_type and a content, which is an object")
	}
	d := roomserver.Draft{Room: f.RoomID, Sender: s.viewer.User, Type: f.EventType, StateKey: f.StateKey, Content: f.Content, Suspended: c.Suspended, Shadowed: c.Shadowed}
	if f.StateKey == nil {
		if f.TxnID == "" {
			return nil, matrix.MissingParam("send needs a txn_id")
		}
		d.Txn = &roomserver.Txn{Device: s.viewer.Device, Scope: "send/" + string(f.RoomID) + "/" + f.EventType, ID: f.TxnID}
	}
	if err := d.FindRedacts(); err != nil {
		return nil, err
	}
	id, err := s.a.rooms.Send(s.ctx, d)
	if err != nil {
		return nil, err
	}
	s.a.ephemeral.Acted(s.ctx, s.viewer.User)
	return &sendResult{EventID: id}, nil
}

// rangeResult is a part of a room's timeline. A seq between From and To that no event has is none that
// the client may see.
type rangeResult struct {
	Events []*roomserver.ClientEvent `json:"events"`
	From   int64                     `json:"from"`
	To     int64                     `json:"to"` // up to here the answer is whole
}

// readRange reads the events of a room with a seq from one to another.
func (s *socket) readRange(f *frame) (*rangeResult, error) {
	if f.From > f.To {
		return nil, matrix.InvalidParam("from cannot be greater than to")
	}
	out := &rangeResult{From: f.From, To: f.To, Events: []*roomserver.ClientEvent{}}
	err := s.a.db.View(s.ctx, func(tx *store.Tx) error {
		access, err := s.a.rooms.Access(tx, s.viewer.User, f.RoomID)
		if err != nil {
			return err
		}
		items, err := s.a.rooms.After(tx, access.Room, f.From-1, rangeMost)
		if err != nil {
			return err
		}
		out.To = min(f.To, access.Seq)
		if len(items) == rangeMost {
			out.To = min(out.To, items[rangeMost-1].Seq)
		}
		for i, it := range items {
			if it.Seq > out.To {
				items = items[:i]
				break
			}
		}
		shown, err := s.a.rooms.Render(tx, s.viewer, access.Room, items)
		if len(shown) > 0 {
			out.Events = shown
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
