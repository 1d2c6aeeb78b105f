package httpapi

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// soon is how long the first try to write a late answer may take. Nearly always the connection takes all
// of it at once.
const soon = 20 * time.Millisecond

// lateWriter is the ResponseWriter of a parked request: it gathers an answer, to be written as HTTP/1.1.
type lateWriter struct {
	header  http.Header // nil until it is asked for
	request string      // X-Request-ID
	last    bool        // the connection ends with the answer
	status  int
	body    []byte
	allowed time.Duration // for the client to take the answer
	broken  bool
}

func newLateWriter(request string) *lateWriter {
	return &lateWriter{request: request, allowed: writeTime}
}

// Header gives the headers, which are made when they are asked for.
func (w *lateWriter) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header, 12)
		setCORS(w.header)
		w.header.Set("X-Request-ID", w.request)
		if w.last {
			w.header.Set("Connection", "close")
		}
	}
	return w.header
}

// WriteHeader sets the status.
func (w *lateWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write adds to the body.
func (w *lateWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, b...)
	return len(b), nil
}

// SetWriteDeadline sets how long the client may take to read the answer.
func (w *lateWriter) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		w.allowed = time.Until(t)
	}
	return nil
}

// send writes the answer, and gives what the connection did not take in time.
func (w *lateWriter) send(conn net.Conn, patience time.Duration) (rest []byte) {
	b := w.appendTo(make([]byte, 0, 600+len(w.body)))
	if conn.SetWriteDeadline(time.Now().Add(patience)) != nil {
		w.broken = true
		return nil
	}
	n, err := conn.Write(b)
	if timeout, is := err.(net.Error); is && timeout.Timeout() {
		return b[n:]
	}
	w.broken = err != nil
	return nil
}

// appendTo writes the answer as HTTP/1.1.
func (w *lateWriter) appendTo(b []byte) []byte {
	w.WriteHeader(http.StatusOK)
	h := w.Header()
	h.Set("Content-Length", strconv.Itoa(len(w.body)))
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(w.status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			b = append(append(append(b, "\r\n"...), name...), ": "...)
			b = append(b, value...)
		}
	}
	return append(append(b, "\r\n\r\n"...), w.body...)
}
