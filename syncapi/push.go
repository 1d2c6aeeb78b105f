package syncapi

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
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

// push tells the client what is new, delta after delta, until the socket ends. The next delta is read
// when the last one was written and there is room in the window; so a slow client makes nothing grow,
// and what happened meanwhile is in one delta, whose timelines may be limited.
func (s *socket) push() error {
	waiter := s.a.waker.listen(s.viewer.User) // before the reading: what comes between is not missed
	defer waiter.stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		behind, err := s.awaitWindow(beat)
		if err != nil {
			return err
		}
		if err := aside(func() error { return s.pushOnce(behind) }); err != nil {
			return err
		}
		if err := s.sleep(waiter, beat, time.Now()); err != nil {
			return err
		}
	}
}

// aside runs fn on a goroutine of its own. The goroutines of a socket live long and mostly sleep: what goes
// deep is done on another stack, so that theirs stay small. A panic ends the socket and not the server.
func aside(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("panic: %v\n%s", v, debug.Stack())
			}
		}()
		done <- fn()
	}()
	return <-done
}

// pushOnce reads what is new and tells it, if there is anything.
func (s *socket) pushOnce(behind bool) error {
	if err := s.admit(); err != nil {
		return err
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
		return err
	}
	it := pushed{text: n.next.String(), token: n.next}
	if s.tellsDelivery {
		it.arrived = arrivedIn(s.viewer.User, n)
	}
	s.mu.Lock()
	s.pending = append(s.pending, it)
	s.mu.Unlock()
	s.asks.since, s.asks.follows, s.asks.initial = n.next, n.next, false
	deltas.Inc()
	return s.writeText(appendDelta(nil, n, since, first, behind))
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

// sleep waits until there may be news.
func (s *socket) sleep(w *waiter, beat *time.Ticker, looked time.Time) error {
	timer := time.NewTimer(lookEvery + rand.N(lookEvery/3) - time.Since(looked))
	defer timer.Stop()
	for {
		select {
		case <-w.woken:
			return nil
		case <-timer.C:
			return nil
		case <-beat.C:
			if err := s.write(plainFrame{Type: "ping"}); err != nil {
				return err
			}
		case <-s.turned:
			return nil
		case text := <-s.deliveries:
			if err := s.writeText(text); err != nil {
				return err
			}
		case <-s.moved:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// awaitWindow waits until another delta may be sent. behind says that the client had to catch up.
func (s *socket) awaitWindow(beat *time.Ticker) (behind bool, err error) {
	if s.unacked() < windowMost {
		return false, nil
	}
	timer := time.NewTimer(windowTime)
	defer timer.Stop()
	for s.unacked() >= windowMost {
		select {
		case <-s.moved:
		case <-timer.C:
			s.part(closeSlow, "nothing was acknowledged in time")
			return false, errSlow
		case <-beat.C:
			if err := s.write(plainFrame{Type: "ping"}); err != nil {
				return false, err
			}
		case <-s.ctx.Done():
			return false, s.ctx.Err()
		}
	}
	return true, nil
}

func (s *socket) unacked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
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
	s.mu.Unlock()
	if len(arrived) > 0 {
		s.a.tellDelivery(s.ctx, s.viewer.User, arrived)
	}
	select {
	case s.moved <- struct{}{}:
	default:
	}
	return nil
}
