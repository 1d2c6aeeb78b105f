package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"

	"astrocyte/homeserver"
)

// controlled runs fn with a client for the control routes of the server that the settings name: of the
// one that runs, or else of one that is made for this command and opens no address.
func controlled(ctx context.Context, s *settings, fn func(c *control) error) error {
	c, err := s.read()
	if err != nil {
		return err
	}
	if client, running := homeserver.ControlClient(c.DataDir); running {
		return fn(&control{ctx, client})
	}
	c.Listeners, c.Metrics.Address = nil, ""
	hs, err := homeserver.New(ctx, homeserver.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan error)
	go func() { stopped <- hs.Run(ctx) }()
	err = fn(&control{ctx, &http.Client{Transport: inProcess{hs.Control()}}})
	stop()
	return errors.Join(err, <-stopped)
}

// control asks a server for things.
type control struct {
	ctx    context.Context
	client *http.Client
}

// ask sends a request and reads its answer; the error of a refusal is its text.
func (c *control) ask(method, path string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(c.ctx, method, "http://control"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var refusal struct {
			Text string `json:"error"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&refusal); err != nil || refusal.Text == "" {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		return errors.New(refusal.Text)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// inProcess brings requests to a handler without a network.
type inProcess struct{ handler http.Handler }

// RoundTrip serves a request.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &answer{header: http.Header{}, status: http.StatusOK}
	r.RemoteAddr = net.IPv6loopback.String()
	p.handler.ServeHTTP(w, r)
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r,
	}, nil
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
