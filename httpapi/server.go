package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// The times and sizes that a connection may take. There is no time for a whole request: long polls wait;
// bodies and answers have deadlines of their own.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	maxHeader  = 64 << 10
)

type stoppingKey struct{}

// NewServer makes the HTTP server of a handler. stopping tells the requests that wait for something that
// the server is about to stop; see Stopping. It is called before Shutdown.
func NewServer(h http.Handler, log *slog.Logger) (srv *http.Server, stopping func()) {
	stop := make(chan struct{})
	base := context.WithValue(context.Background(), stoppingKey{}, (<-chan struct{})(stop))
	srv = &http.Server{
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
	return srv, sync.OnceFunc(func() { close(stop) })
}

// Stopping gives a channel that is closed when the server begins to stop. A handler that waits answers
// then with what it has, so that the stop does not wait for it. Outside of a server it is nil.
func Stopping(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return stop
}
