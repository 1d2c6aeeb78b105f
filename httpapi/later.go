package httpapi

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Later is what a Raw handler returns, as its error, that has to wait for long before it can answer. It has
// read the request's body and written nothing. Park is called where the connection can be parked, and
// Wait, which answers like a handler, where it cannot. Of the request they keep nothing.
type Later struct {
	Park func(d *Detached)
	Wait func(w http.ResponseWriter, r *http.Request) error
}

// Error says what it is, where nobody took it for that.
func (l *Later) Error() string { return "the answer comes later" }

// Detached is a request whose connection is parked.
type Detached struct {
	parking *Parking
	x       *exchange
	e       *endpoint
	began   time.Time
	kept    Kept
	conn    net.Conn
	held    *held // nil: nobody watches the connection
	last    bool  // the connection ends with the answer
	ahead   bool  // more was read than the request
	onEnd   atomic.Pointer[func(gone bool)]
	ended   atomic.Int32
}

// The ends of a waiting, beside the answer.
const (
	notEnded = iota
	clientGone
	serverStops
)

// Request is what is left of the request: the method, the path, and the headers that matter to the answer
// and to authentication.
func (d *Detached) Request() *http.Request { return d.kept.Request(d.parking.base) }

// OnEnd has fn called once when the waiting ends from outside: the client went away, or the server stops and
// the answer is to be given with what there is. fn must not block. It may be called at once.
func (d *Detached) OnEnd(fn func(gone bool)) {
	d.onEnd.Store(&fn)
	d.tellEnd()
}

// end notes that the waiting ends.
func (d *Detached) end(gone bool) {
	why := int32(serverStops)
	if gone {
		why = clientGone
	}
	d.ended.CompareAndSwap(notEnded, why)
	d.tellEnd()
}

// tellEnd calls the function of OnEnd, where both are there.
func (d *Detached) tellEnd() {
	why := d.ended.Load()
	if why == notEnded {
		return
	}
	if fn := d.onEnd.Swap(nil); fn != nil {
		(*fn)(why == clientGone)
	}
}

// Finish answers: fn is a handler. It is called once.
func (d *Detached) Finish(fn func(w http.ResponseWriter, r *http.Request) error) {
	d.x.r = d.Request()
	err := d.x.guard(func() error { return fn(d.x.w, d.x.r) })
	if err != nil {
		d.x.fail(d.e, err)
	}
	w := d.x.w.ResponseWriter.(*lateWriter)
	if rest := w.send(d.conn, soon); len(rest) > 0 { // a client that is slow to read must not hold up others
		go func() {
			if d.conn.SetWriteDeadline(time.Now().Add(w.allowed)) == nil {
				if _, err := d.conn.Write(rest); err != nil {
					w.broken = true
				}
			}
			d.conclude(err, w.broken)
		}()
		return
	}
	d.conclude(err, w.broken)
}

// Abandon is the end of a request whose client went away.
func (d *Detached) Abandon() {
	d.x.r, d.x.w.status = d.Request(), statusGone
	d.conclude(context.Canceled, true)
}

// conclude counts and logs the request, and lets the connection go on to its next one.
func (d *Detached) conclude(err error, broken bool) {
	d.x.report(d.e, err, time.Since(d.began))
	defer d.parking.leave(d)
	switch {
	case broken || d.last || d.held == nil && !d.ahead:
		if d.held != nil {
			d.parking.release(d.held)
		}
		_ = d.conn.Close()
	case d.ahead:
		if d.held != nil {
			d.parking.release(d.held)
		}
		_ = d.conn.SetWriteDeadline(time.Time{})
		d.parking.giveBack(d.conn)
	default:
		_ = d.conn.SetWriteDeadline(time.Time{})
		d.parking.rest(d.held)
	}
}

// detach takes a request's connection from net/http; nil: it has to wait in its handler.
func (x *exchange) detach(e *endpoint, began time.Time) *Detached {
	p := parkingOf(x.r)
	if p == nil || x.r.ProtoMajor != 1 || x.r.ProtoMinor < 1 || x.r.TLS != nil {
		return nil
	}
	d := &Detached{parking: p, e: e, began: began, last: x.r.Close}
	if !p.enter(d) {
		return nil
	}
	conn, rw, err := http.NewResponseController(x.w.ResponseWriter).Hijack()
	if err != nil {
		p.leave(d)
		return nil
	}
	_ = conn.SetDeadline(time.Time{})
	more, _ := rw.Reader.Peek(rw.Reader.Buffered())
	if a, ok := conn.(*aheadConn); ok { // nothing before this is unread
		more, conn = append(more, a.ahead...), a.Conn
	}
	if len(more) > 0 {
		conn, d.ahead = &aheadConn{Conn: conn, ahead: slices.Clone(more)}, true
	}
	d.park(conn, x)
	return d
}

// park begins to watch the connection of a request.
func (d *Detached) park(conn net.Conn, x *exchange) {
	w := newLateWriter(x.w.Header().Get("X-Request-ID"))
	d.kept = Keep(x.r)
	d.x = &exchange{router: x.router, w: newRecorder(w), caller: x.caller}
	d.held = d.parking.hold(conn, d)
	if d.held == nil && !d.ahead {
		d.last = true // nobody would hear of the next request
	}
	w.last = d.last
}

// aheadConn is a connection of which more was read than its owner needed.
type aheadConn struct {
	net.Conn
	ahead []byte
}

// Read gives what was read ahead, and then what comes.
func (c *aheadConn) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
