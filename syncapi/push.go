package syncapi

import (
	"errors"
	"slices"
	"time"

	"astrocyte/matrix/canonicaljson"
)

const (
	// windowMost is how many deltas may be on their way without being acknowledged.
	windowMost = 16
	// windowTime is how long a client with a full window may take to acknowledge anything.
	windowTime = 60 * time.Second
)

var errSlow = errors.New("the client acknowledges nothing")

// news reads what is new, as a frame; nil: there is nothing.
func (s *socket) news(behind bool) ([]byte, error) {
	done, err := s.a.sockets.turn(s.ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := s.admit(); err != nil {
		return nil, err
	}
	s.a.alive(s.ctx, &s.asks)
	if s.shows() {
		return s.slideOnce(behind)
	}
	s.mu.Lock()
	s.asks.shown = s.acked.token
	s.mu.Unlock()
	first, since := s.asks.initial, s.asks.follows
	n, err := s.a.look(s.ctx, &s.asks)
	if err != nil || n.empty() && !first {
		return nil, err
	}
	it := pushed{text: n.next.String(), token: n.next}
	if s.tellsDelivery {
		it.arrived = arrivedIn(s.viewer.User, n)
	}
	s.mu.Lock()
	s.pending = append(s.pending, it)
	s.mu.Unlock()
	s.asks.since, s.asks.follows, s.asks.initial = n.next, n.next, false
	return appendDelta(nil, n, since, first, behind), nil
}

// appendDelta writes a sync frame.
func appendDelta(dst []byte, n *news, since Token, first, behind bool) []byte {
	dst = append(dst, `{"type":"sync"`...)
	if !first {
		dst = canonicaljson.AppendText(append(dst, `,"since":`...), since.String())
	}
	dst = canonicaljson.AppendText(append(dst, `,"token":`...), n.next.String())
	if behind {
		dst = append(dst, `,"catch_up":true`...)
	}
	dst = append(dst, `,"delta":`...)
	return append(n.AppendJSON(dst), '}')
}

// ack notes that the client has all up to a token, and tells those who sent it. A token that was not told here is
// passed over.
func (s *socket) ack(text string) error {
	if _, err := Position(text); err != nil {
		return err
	}
	var arrived []arrival
	s.mu.Lock()
	if i := slices.IndexFunc(s.pending, func(p pushed) bool { return p.text == text }); i >= 0 {
		for _, p := range s.pending[:i+1] {
			arrived = append(arrived, p.arrived...)
		}
		s.acked, s.pending = s.pending[i], slices.Clone(s.pending[i+1:])
		s.acked.arrived = nil
	}
	if !s.stalled.IsZero() {
		s.rouseLocked(true)
	}
	s.mu.Unlock()
	if len(arrived) > 0 {
		s.a.tellDelivery(s.ctx, s.viewer.User, arrived)
	}
	return nil
}
