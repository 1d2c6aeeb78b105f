package httpapi

import (
	"bufio"
	"net"
	"net/http"
)

// recorder is a ResponseWriter that remembers the status. Everything else that the connection can do
// is reached through http.ResponseController, or Hijack.
type recorder struct {
	http.ResponseWriter
	status int
}

func newRecorder(w http.ResponseWriter) *recorder { return &recorder{ResponseWriter: w} }

func (r *recorder) begun() bool { return r.status != 0 }

// WriteHeader sends the status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController what is below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack hands the connection over.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// Flush sends what is buffered.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }
