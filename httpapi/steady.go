package httpapi

import (
	"io"
	"net/http"
	"time"
)

// steadyTime is how long the other side may send, or take, nothing of a file.
const steadyTime = time.Minute

// SteadyBody gives a request's body time for as long as something comes of it. It is for files, which take long.
func SteadyBody(w http.ResponseWriter, r *http.Request) io.Reader {
	return &steadyReader{r.Body, http.NewResponseController(w)}
}

type steadyReader struct {
	r    io.Reader
	conn *http.ResponseController
}

func (s *steadyReader) Read(b []byte) (int, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(steadyTime))
	return s.r.Read(b)
}

// SteadyWriter gives an answer time for as long as something of it is taken.
func SteadyWriter(w http.ResponseWriter) http.ResponseWriter {
	return &steadyWriter{w, http.NewResponseController(w)}
}

type steadyWriter struct {
	http.ResponseWriter
	conn *http.ResponseController
}

// Write sends a part of the answer.
func (s *steadyWriter) Write(b []byte) (int, error) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(steadyTime))
	return s.ResponseWriter.Write(b)
}
