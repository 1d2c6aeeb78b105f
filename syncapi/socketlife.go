package syncapi

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// life is what moves a socket. It is under the socket's lock.
type life struct {
	active  int  // goroutines that work on it
	ended   bool // no further ones begin
	pushing bool // one of them pushes
	due     bool // there may be news
	again   bool // there is more to do than when the one that pushes last looked

	deliveries [][]byte // frames about deliveries, to be written
	heard      time.Time
	waiter     *waiter
	timer      *time.Timer
}

var errSilent = errors.New("nothing came from the client in time")

// run has fn done on a goroutine of its own, unless the socket has ended. An error ends the socket, and so does a panic:
// it does not end the server.
func (s *socket) run(fn func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.life.ended {
		s.runLocked(fn)
	}
}

func (s *socket) runLocked(fn func() error) {
	s.life.active++
	go func() {
		if err := safely(fn); err != nil {
			s.fail(err)
			s.finish()
		}
		s.leave()
	}()
}

// safely makes an error of a panic.
func safely(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return fn()
}

// finish ends the socket. It is called within run: the last goroutine that leaves then buries it.
func (s *socket) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.ended {
		return
	}
	s.life.ended = true
	s.cancel()
	if s.watched != nil {
		s.watched.Release()
	}
	_ = s.conn.Close() // which ends the reading
}

func (s *socket) leave() {
	s.mu.Lock()
	s.life.active--
	over := s.life.ended && s.life.active == 0
	s.mu.Unlock()
	if !over {
		return
	}
	if s.life.waiter != nil {
		s.life.timer.Stop()
		s.life.waiter.stop()
	}
	s.a.sockets.remove(s)
}

// live is the life of a socket: log in, then push and answer until one of both ends it.
func (s *socket) live() error {
	if err := s.login(); err != nil {
		return err
	}
	waiter := s.a.waker.listen(s.viewer.User) // before the first reading: what comes between is not missed
	if !s.begin(waiter) {
		waiter.stop()
		return nil
	}
	waiter.hand(func() { s.rouse(true) })
	if s.waits() {
		return nil
	}
	return s.serve()
}

// begin begins the pushing; false: the socket has ended.
func (s *socket) begin(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.ended {
		return false
	}
	now := time.Now()
	s.life.heard, s.beat = now, now.Add(heartbeat)
	s.life.timer = time.AfterFunc(heartbeat, func() { s.rouse(false) })
	s.life.waiter, s.life.due = w, true
	s.runLocked(s.push)
	return true
}

// rouse has the socket push what there is to be pushed; look: there may be news. It does not block.
func (s *socket) rouse(look bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rouseLocked(look)
}

func (s *socket) rouseLocked(look bool) {
	l := &s.life
	l.due = l.due || look
	switch {
	case l.ended:
	case l.pushing:
		l.again = true
	default:
		l.pushing = true
		s.runLocked(s.push)
	}
}

// push tells the client what is new, delta after delta, until there is no more. The next delta is read when the last
// one was written and there is room in the window; so a slow client makes nothing grow, and what happened meanwhile is
// in one delta, whose timelines may be limited.
func (s *socket) push() error {
	for {
		s.mu.Lock()
		due, texts, heard := s.life.due, s.life.deliveries, s.life.heard
		s.life.due, s.life.again, s.life.deliveries = false, false, nil
		s.mu.Unlock()
		for _, text := range texts {
			if err := s.writeText(text); err != nil {
				return err
			}
		}
		now := time.Now()
		if now.Sub(heard) >= silence {
			s.part(closeSilent, "nothing came in time")
			return errSilent
		}
		if !now.Before(s.beat) {
			s.beat = now.Add(heartbeat)
			if err := s.write(plainFrame{Type: "ping"}); err != nil {
				return err
			}
		}
		if due || !now.Before(s.look) {
			if err := s.tell(now); err != nil {
				return err
			}
		}
		if s.rest() {
			return nil
		}
	}
}

// rest ends the pushing for now; false: there is more to do.
func (s *socket) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.again {
		return false
	}
	s.life.pushing = false
	next := s.look
	if !s.stalled.IsZero() {
		next = s.stalled.Add(windowTime)
	}
	for _, t := range []time.Time{s.beat, s.life.heard.Add(silence)} {
		if t.Before(next) {
			next = t
		}
	}
	s.life.timer.Reset(max(time.Until(next), time.Millisecond))
	return true
}

// tell tells what is new, if there is room in the window.
func (s *socket) tell(now time.Time) error {
	s.mu.Lock()
	full, since := len(s.pending) >= windowMost, s.stalled
	switch {
	case !full:
		s.stalled = time.Time{}
	case since.IsZero():
		s.stalled = now
	}
	s.mu.Unlock()
	if full {
		if !since.IsZero() && now.Sub(since) >= windowTime {
			s.part(closeSlow, "nothing was acknowledged in time")
			return errSlow
		}
		return nil // until something is acknowledged
	}
	s.look = now.Add(lookEvery + rand.N(lookEvery/3))
	behind := !since.IsZero()
	text, err := s.news(behind)
	if text == nil || err != nil {
		return err
	}
	deltas.Inc()
	return s.writeText(text)
}

// waits lets the next frame be waited for without a goroutine; false: it is here already, or that cannot be.
func (s *socket) waits() bool {
	return s.watched != nil && !s.frames.more() && s.watched.Rest()
}

// end ends the socket from outside. A client that does not read does not hold up the caller.
func (s *socket) end(code int, reason string) {
	s.run(func() error {
		s.part(code, reason)
		s.finish()
		return nil
	})
}

// dismiss sends the client away until after a time.
func (s *socket) dismiss(after time.Duration) {
	s.run(func() error {
		ms := after.Milliseconds()
		_ = s.write(plainFrame{Type: "reconnect", AfterMS: &ms})
		s.part(closeRestart, "the server restarts")
		s.finish()
		return nil
	})
}
