package httpapi

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Parking keeps connections without a goroutine and without buffers: those whose request waits for something,
// and those whose answer was given in that way, until their next request comes. It is for plain HTTP/1.1 on
// systems whose kernel tells which of many connections have moved; elsewhere nothing is parked, and who waits
// waits in the handler.
//
// A handler that will wait for long returns a *Later. Its connection is taken from net/http, which frees the
// goroutine and the buffers; the kernel is asked to tell when the client goes away. When the answer is there,
// it is written, and the kernel is asked to tell of the next request: then the connection goes back to
// net/http, as one that was just accepted.
//
// Invariants: a connection has one owner at a time: net/http, a Detached, or the idle ones here; who is told
// that the server stops answers with what they have, and Drain waits for all of them.
type Parking struct {
	watch *watch // nil: nothing is parked
	base  context.Context
	back  chan net.Conn // connections of which a request comes

	mu      sync.Mutex
	held    map[int]*held // by file descriptor
	serial  int32
	waiting map[*Detached]struct{} // those that are not done
	stopped bool                   // nothing is parked any more
	empty   chan struct{}          // closed when it is stopped and nobody waits
	closed  chan struct{}
	closing sync.Once
}

// held is a connection that the kernel watches.
type held struct {
	conn     net.Conn
	fd       int
	serial   int32     // tells it from others that had the same descriptor
	detached *Detached // of a request that waits
	watched  *Watched  // of another protocol; nil both: it is idle
	since    time.Time // idle since
}

func (h *held) idle() bool { return h.detached == nil && h.watched == nil }

// idleCheck is how often idle connections are looked through for those that have been so for too long.
const idleCheck = 10 * time.Second

func newParking(base context.Context) *Parking {
	w, err := newWatch()
	if err != nil {
		w = nil // such as where there are no descriptors left: then everybody waits in their handler
	}
	return &Parking{
		watch: w, base: base, back: make(chan net.Conn, 64),
		held: make(map[int]*held), waiting: make(map[*Detached]struct{}),
		empty: make(chan struct{}), closed: make(chan struct{}),
	}
}

// Run hears of connections that have moved, until ctx ends.
func (p *Parking) Run(ctx context.Context) error {
	if p.watch == nil {
		<-ctx.Done()
		return nil
	}
	defer context.AfterFunc(ctx, p.watch.close)()
	swept := time.Now()
	for ctx.Err() == nil {
		moved, err := p.watch.wait(idleCheck)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for _, m := range moved {
			p.moved(m)
		}
		if now := time.Now(); now.Sub(swept) >= idleCheck {
			swept = now
			p.sweep(now)
		}
	}
	return nil
}

// moved tells who has a connection that something came of it: its end, or the next request.
func (p *Parking) moved(m move) {
	p.mu.Lock()
	h := p.held[m.fd]
	if h == nil || h.serial != m.serial {
		p.mu.Unlock()
		return // it was closed meanwhile, and its descriptor may be another's now
	}
	d, w := h.detached, h.watched
	rested := w != nil && w.resting
	if rested {
		w.resting = false
	}
	if h.idle() {
		p.drop(h)
	}
	p.mu.Unlock()
	switch {
	case d != nil:
		d.end(true)
	case rested:
		w.moved()
	case w == nil:
		p.giveBack(h.conn)
	}
}

// giveBack hands a connection to net/http, which reads the next request.
func (p *Parking) giveBack(conn net.Conn) {
	select {
	case p.back <- conn:
	case <-p.closed:
		_ = conn.Close()
	}
}

// drop ends the watching of a connection. The lock is held.
func (p *Parking) drop(h *held) {
	delete(p.held, h.fd)
	p.watch.remove(h.fd)
	parked.Dec()
}

// sweep closes connections that have been idle for too long.
func (p *Parking) sweep(now time.Time) {
	p.mu.Lock()
	var old []*held
	for _, h := range p.held {
		if h.idle() && now.Sub(h.since) >= idleTime {
			p.drop(h)
			old = append(old, h)
		}
	}
	p.mu.Unlock()
	for _, h := range old {
		_ = h.conn.Close()
	}
}

// hold begins to watch a connection for a Detached. It is nil where that cannot be.
func (p *Parking) hold(conn net.Conn, d *Detached) *held {
	fd, ok := descriptor(conn)
	p.mu.Lock()
	defer p.mu.Unlock()
	d.conn = conn
	if !ok {
		return nil
	}
	p.serial++
	h := &held{conn: conn, fd: fd, serial: p.serial, detached: d}
	if p.watch.add(fd, h.serial, untilEnd) != nil {
		return nil
	}
	p.held[fd] = h
	parked.Inc()
	return h
}

// rest keeps a connection whose request was answered until the next one comes.
func (p *Parking) rest(h *held) {
	p.mu.Lock()
	h.detached, h.since = nil, time.Now()
	if p.stopped || p.watch.change(h.fd, h.serial, untilRead) != nil {
		p.drop(h)
		p.mu.Unlock()
		_ = h.conn.Close()
		return
	}
	p.mu.Unlock()
}

// release forgets a connection without closing it.
func (p *Parking) release(h *held) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(h)
}

// enter takes one who will wait; false: nothing is parked.
func (p *Parking) enter(d *Detached) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.watch == nil {
		return false
	}
	p.waiting[d] = struct{}{}
	return true
}

// leave is the end of what began with enter.
func (p *Parking) leave(d *Detached) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, d)
	if p.stopped && len(p.waiting) == 0 {
		close(p.empty)
	}
}

// stop tells all who wait that the server stops, and closes idle connections.
func (p *Parking) stop() {
	p.mu.Lock()
	p.stopped = true
	if len(p.waiting) == 0 {
		close(p.empty)
	}
	waiting := slices.Collect(maps.Keys(p.waiting))
	var idle []*held
	for _, h := range p.held {
		if h.idle() {
			p.drop(h)
			idle = append(idle, h)
		}
	}
	p.mu.Unlock()
	for _, d := range waiting {
		d.end(false)
	}
	for _, h := range idle {
		_ = h.conn.Close()
	}
}

// drain waits until all who waited are answered; when ctx ends before, it closes their connections.
func (p *Parking) drain(ctx context.Context) error {
	select {
	case <-p.empty:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := range p.waiting {
		if d.conn != nil {
			_ = d.conn.Close()
		}
	}
	return ctx.Err()
}

// Accept gives net/http the connections of which a request comes: Parking is a listener to it.
func (p *Parking) Accept() (net.Conn, error) {
	select {
	case conn := <-p.back:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *Parking) Close() error {
	p.closing.Do(func() { close(p.closed) })
	return nil
}

// Addr is that of a listener that has none.
func (p *Parking) Addr() net.Addr { return &net.TCPAddr{} }

type parkingKey struct{}

// parkingOf gives the parking of the server that a request came to, nil where there is none.
func parkingOf(r *http.Request) *Parking {
	p, _ := r.Context().Value(parkingKey{}).(*Parking)
	return p
}
