package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The times and sizes that a connection may take. There is no time for a whole request: long polls wait;
// bodies and answers have deadlines of their own.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	maxHeader  = 64 << 10
)

type stoppingKey struct{}

// Server is an HTTP server whose requests may wait without holding anything.
type Server struct {
	*http.Server
	parking  *Parking
	stopping func()
}

// NewServer makes the HTTP server of a handler.
func NewServer(h http.Handler, log *slog.Logger) *Server {
	stop := make(chan struct{})
	base := context.WithValue(context.Background(), stoppingKey{}, (<-chan struct{})(stop))
	parking := newParking(base)
	base = context.WithValue(base, parkingKey{}, parking)
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken connections are the peers' fault
		BaseContext:       func(net.Listener) context.Context { return base },
		Protocols:         new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true) // of reverse proxies that speak it without TLS
	return &Server{srv, parking, sync.OnceFunc(func() {
		close(stop)
		parking.stop()
	})}
}

// RunParking serves the connections that are parked, until ctx ends: after Stop.
func (s *Server) RunParking(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.parking.Run(ctx) })
	g.Go(func() error {
		if err := s.Serve(s.parking); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("serve parked connections: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return s.parking.Close()
	})
	return g.Wait()
}

// Stop tells the requests that wait for something that the server stops, see Stopping, and lets the running
// ones end, as long as ctx does not.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping()
	return errors.Join(s.parking.drain(ctx), s.Shutdown(ctx))
}

// Stopping gives a channel that is closed when the server begins to stop. A handler that waits answers
// then with what it has, so that the stop does not wait for it. Outside of a server it is nil.
func Stopping(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return stop
}
