package homeserver

import (
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"astrocyte/httpapi"
	"astrocyte/store"
)

// healthRoutes are for load balancers and supervisors.
func (s *Server) healthRoutes(r *httpapi.Router) {
	r.Handle(http.MethodGet, "/healthz", httpapi.RawOpen(s.healthz), httpapi.NoLog())
	r.Handle(http.MethodGet, "/readyz", httpapi.RawOpen(s.readyz), httpapi.NoLog())
}

// healthz says that the node is alive: it answers.
//
// Extension: GET /healthz
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request, _ *httpapi.Caller) error {
	return writePlain(w, http.StatusOK, "ok")
}

// readyz says whether the node should be given requests: its database answers, and it is not stopping.
//
// Extension: GET /readyz
func (s *Server) readyz(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	if !s.ready.Load() {
		return writePlain(w, http.StatusServiceUnavailable, "stopping")
	}
	if err := s.db.View(r.Context(), func(*store.Tx) error { return nil }); err != nil {
		s.log.Warn("not ready: the database does not answer", "error", err)
		return writePlain(w, http.StatusServiceUnavailable, "no database")
	}
	return writePlain(w, http.StatusOK, "ok")
}

func writePlain(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := io.WriteString(w, text+"\n")
	return err
}

// metricsHandler serves the figures of all packages, at an address of their own.
func (s *Server) metricsHandler() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /metrics", promhttp.Handler())
	return m
}
