package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"astrocyte/egress"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Options are what a Client needs.
type Options struct {
	Server matrix.ServerName
	KeyID  matrix.KeyID
	Key    ed25519.PrivateKey
	// Egress judges every connection.
	Egress *egress.Policy
	// CAs are the trusted certificate authorities, nil for those of the system.
	CAs *x509.CertPool
	// Admission says which servers are spoken with; the zero one is all.
	Admission Admission
	// Resolver looks names up, nil for that of the system.
	Resolver *net.Resolver
	// Agent is what the server calls itself, name/version.
	Agent string
	Log   *slog.Logger
	Now   func() time.Time
}

// Client speaks to other servers.
type Client struct {
	o         Options
	log       *slog.Logger
	transport *http.Transport
	wellKnown *wellKnown
	answered  func(matrix.ServerName) // is told of servers that took a signed request; set by NewKeys
}

// New makes a client.
func New(o Options) *Client {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	c := &Client{o: o, log: o.Log, answered: func(matrix.ServerName) {}}
	c.transport = c.newTransport()
	c.wellKnown = newWellKnown(o)
	return c
}

// Server is the name of this server.
func (c *Client) Server() matrix.ServerName { return c.o.Server }

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Request is what another server is asked.
type Request struct {
	Method string
	// Path is percent-encoded where it has to be; see Path.
	Path  string
	Query url.Values
	// Body is encoded as JSON; nil is none.
	Body any
	// Into takes the answer; nil drops it.
	Into any
	// Limit bounds the answer in bytes; 0 is a megabyte.
	Limit int64
	// Timeout bounds the whole exchange; 0 is half a minute.
	Timeout time.Duration
	// Unsigned sends the request without a signature, as for keys.
	Unsigned bool
}

const (
	defaultLimit   = 1 << 20
	defaultTimeout = 30 * time.Second
	// maxRefusal bounds what is read of an answer that is an error.
	maxRefusal = 64 << 10
)

// Path joins segments to a path, each percent-encoded.
func Path(prefix string, segments ...string) string {
	for _, s := range segments {
		prefix += "/" + url.PathEscape(s)
	}
	return prefix
}

// Refused is an answer with an error.
type Refused struct {
	Server matrix.ServerName
	Status int
	// Fault is what the other server says; its code is M_UNKNOWN where it said nothing readable.
	Fault *matrix.Error
	// RetryAfter is how long it asks to be left alone, 0 where it does not.
	RetryAfter time.Duration
	// Unreadable is set where the answer is no error of the protocol.
	Unreadable bool
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%s answers %d %s: %s", r.Server, r.Status, r.Fault.Code, r.Fault.Message)
}

// Unreachable is the error of a request to which no answer came that could be read.
type Unreachable struct {
	Server matrix.ServerName
	Err    error
}

func (u *Unreachable) Error() string { return fmt.Sprintf("%s cannot be reached: %v", u.Server, u.Err) }

// Unwrap gives the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

// ErrNotAdmitted is the cause where this server does not speak with the other.
var ErrNotAdmitted = errors.New("this server does not speak with it")

var errTooLarge = errors.New("the answer is too large")

// Do sends a signed request and reads the answer. An answer that is an error is a *Refused; everything by which
// no answer came is an *Unreachable.
func (c *Client) Do(ctx context.Context, dest matrix.ServerName, r Request) error {
	ctx, cancel := context.WithTimeout(ctx, orDefault(r.Timeout, defaultTimeout))
	defer cancel()
	resp, err := c.send(ctx, dest, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := readBounded(resp.Body, orDefault(r.Limit, defaultLimit))
	if err != nil {
		return &Unreachable{dest, err}
	}
	if r.Into == nil {
		return nil
	}
	if err := json.Unmarshal(body, r.Into); err != nil {
		return &Unreachable{dest, fmt.Errorf("an answer that makes no sense: %w", err)}
	}
	return nil
}

// Answer is an answer that is being read.
type Answer struct {
	Header http.Header
	Body   io.ReadCloser
}

// Stream sends a signed request and gives the answer to be read, which its reader bounds and closes. The
// timeout of the request is for all of the reading.
func (c *Client) Stream(ctx context.Context, dest matrix.ServerName, r Request) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(r.Timeout, defaultTimeout))
	resp, err := c.send(ctx, dest, r)
	if err != nil {
		cancel()
		return nil, err
	}
	return &Answer{Header: resp.Header, Body: &cancelledBody{resp.Body, cancel}}, nil
}

// cancelledBody is a body whose time ends when it is closed.
type cancelledBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close ends the reading.
func (b *cancelledBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// send sends a request and gives the answer where it is a success.
func (c *Client) send(ctx context.Context, dest matrix.ServerName, r Request) (*http.Response, error) {
	began := time.Now()
	resp, err := c.exchange(ctx, dest, r)
	if err != nil {
		requestsTotal.WithLabelValues("unreachable").Inc()
		c.log.Debug("a server was not reached", "server", dest, "method", r.Method, "path", r.Path, "took", time.Since(began), "error", err)
		return nil, &Unreachable{dest, err}
	}
	c.log.Debug("asked a server", "server", dest, "method", r.Method, "path", r.Path, "status", resp.StatusCode, "took", time.Since(began))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		requestsTotal.WithLabelValues("answered").Inc()
		if !r.Unsigned {
			c.answered(dest)
		}
		return resp, nil
	}
	defer resp.Body.Close()
	requestsTotal.WithLabelValues("refused").Inc()
	return nil, refusal(dest, resp)
}

func (c *Client) exchange(ctx context.Context, dest matrix.ServerName, r Request) (*http.Response, error) {
	if !c.Admits(dest) {
		return nil, ErrNotAdmitted
	}
	to, err := c.route(ctx, dest)
	if err != nil {
		return nil, err
	}
	body, err := encodeBody(r.Body)
	if err != nil {
		return nil, err
	}
	uri := r.Path
	if len(r.Query) > 0 {
		uri += "?" + r.Query.Encode()
	}
	req, err := newRequest(ctx, r.Method, "https://"+to.address+uri, body)
	if err != nil {
		return nil, err
	}
	req.Host = to.host
	req.Header.Set("User-Agent", c.o.Agent)
	if !r.Unsigned {
		req.Header.Set("Authorization", c.sign(signedRequest{Method: r.Method, URI: uri, Destination: dest, Content: body}))
	}
	return c.transport.RoundTrip(req) // no client: a redirect is not followed
}

// encodeBody writes a body as it is signed and sent. It may have events of old rooms, whose numbers are free.
func encodeBody(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	canonical, err := canonicaljson.Canonical(make([]byte, 0, len(text)), text, canonicaljson.Loose)
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	return canonical, nil
}

// readBounded reads a body of limit bytes at most.
func readBounded(body io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(text)) > limit {
		return nil, errTooLarge
	}
	return text, nil
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
