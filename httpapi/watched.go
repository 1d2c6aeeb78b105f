package httpapi

import (
	"net"
	"net/http"
)

// Watched is a connection that another protocol has taken over, and that rests without a goroutine until
// something comes of it.
type Watched struct {
	parking *Parking
	held    *held
	moved   func()
	resting bool // under the parking's lock
}

// Watch prepares to watch a connection that was taken from a request. moved is called when something came that can be
// read, or the end did, once after each Rest; it must not block. Nil: this connection cannot be watched.
func Watch(r *http.Request, conn net.Conn, moved func()) *Watched {
	p := parkingOf(r)
	if p == nil || p.watch == nil {
		return nil
	}
	fd, ok := descriptor(conn)
	if _, ahead := conn.(*aheadConn); !ok || ahead { // the kernel knows nothing of what was read ahead
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil
	}
	p.serial++
	w := &Watched{parking: p, moved: moved}
	w.held = &held{conn: conn, fd: fd, serial: p.serial, watched: w}
	if p.watch.add(fd, w.held.serial, untilNothing) != nil {
		return nil
	}
	p.held[fd] = w.held
	parked.Inc()
	return w
}

// Rest watches the connection; false: it cannot, and nobody will be called.
func (w *Watched) Rest() bool {
	p := w.parking
	p.mu.Lock()
	defer p.mu.Unlock()
	w.resting = p.held[w.held.fd] == w.held && p.watch.change(w.held.fd, w.held.serial, untilRead) == nil
	return w.resting
}

// Release ends the watching. It comes before the connection is closed, and may come again.
func (w *Watched) Release() {
	p := w.parking
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[w.held.fd] == w.held {
		p.drop(w.held)
	}
}
