package homeserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/config"
	"astrocyte/httpapi"
)

// drainTime is how long requests may take to end when the server stops. Those that wait for news end at once.
const drainTime = 8 * time.Second

// listener is an open address of the server.
type listener struct {
	net.Listener
	files config.TLS
	cert  atomic.Pointer[tls.Certificate] // nil without TLS
}

// listen opens an address and reads its certificate.
func listen(c config.Listener) (*listener, error) {
	l := &listener{files: c.TLS}
	if err := l.readCertificate(); err != nil {
		return nil, err
	}
	var err error
	if l.Listener, err = net.Listen("tcp", c.Address); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", c.Address, err)
	}
	return l, nil
}

// readCertificate reads the certificate anew; on an error the one before stays in use.
func (l *listener) readCertificate() error {
	if !l.files.On() {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(l.files.Certificate, l.files.Key)
	if err != nil {
		return fmt.Errorf("read certificate %s: %w", l.files.Certificate, err)
	}
	l.cert.Store(&cert)
	return nil
}

// url is how the listener is reached.
func (l *listener) url() string {
	if l.files.On() {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

func (l *listener) serve(srv *http.Server) error {
	var err error
	if l.files.On() {
		err = srv.Serve(tls.NewListener(l.Listener, &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return l.cert.Load(), nil
			},
		}))
	} else {
		err = srv.Serve(l.Listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// serveHTTP serves a handler at listeners until ctx ends, and then lets the running requests end.
func serveHTTP(ctx context.Context, listeners []*listener, h http.Handler, log *slog.Logger) error {
	srv := httpapi.NewServer(h, log)
	g, failed := errgroup.WithContext(ctx)
	parking, end := context.WithCancel(context.WithoutCancel(ctx))
	for _, l := range listeners {
		g.Go(func() error { return l.serve(srv.Server) })
	}
	g.Go(func() error { return srv.RunParking(parking) })
	g.Go(func() error {
		defer end()
		<-failed.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if err := srv.Stop(drain); err != nil {
			log.Warn("requests were cut off by the stop", "error", err)
			return srv.Close()
		}
		return nil
	})
	return g.Wait()
}
