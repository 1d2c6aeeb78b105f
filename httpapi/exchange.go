package httpapi

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"astrocyte/matrix"
)

// statusGone is what is counted for a request whose client went away before the answer.
const statusGone = 499

// exchange is one request and its answer.
type exchange struct {
	router *Router
	w      *recorder
	r      *http.Request
	caller *Caller
}

// serve runs an endpoint, or answers why there is none, and counts and logs what came of it.
func (x *exchange) serve(e *endpoint, err error) {
	began := time.Now()
	x.caller = &Caller{Request: x.router.names.next(), IP: ClientAddress(x.r, x.router.o.TrustedProxies), UserAgent: shortAgent(x.r)}
	x.w.Header().Set("X-Request-ID", x.caller.Request)
	if err == nil {
		err = x.guard(func() error { return x.run(e) })
	}
	if later := (*Later)(nil); errors.As(err, &later) {
		if d := x.detach(e, began); d != nil {
			later.Park(d)
			return
		}
		err = x.guard(func() error { return later.Wait(x.w, x.r) })
	}
	if err != nil {
		x.fail(e, err)
	}
	x.report(e, err, time.Since(began))
	if e != nil && e.audit() && x.caller.audited {
		x.audit(e, err)
	}
}

// guard runs a handler, and turns a panic into an error.
func (x *exchange) guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			err = &panicked{value: v, stack: debug.Stack()}
		}
	}()
	return fn()
}

// run calls the handler of an endpoint.
func (x *exchange) run(e *endpoint) error {
	if x.r.Body != nil && x.r.Body != http.NoBody {
		x.r.Body = http.MaxBytesReader(x.w, x.r.Body, e.bodyLimit)
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(bodyTime))
	}
	if err := x.identify(e); err != nil {
		return err
	}
	if err := x.admit(e); err != nil {
		return err
	}
	x.caller.audited = e.audit()
	return e.handler.answer(x.w, x.r, x.caller)
}

// identify finds the caller by the access token, where the endpoint takes one, or by the signature.
func (x *exchange) identify(e *endpoint) error {
	switch e.handler.access {
	case accessOpen:
		return nil
	case accessSigned:
		return x.identifyServer()
	}
	token, err := x.token()
	switch {
	case err != nil:
		return err
	case token == "" && e.handler.access == accessMaybe:
		return nil
	case token == "":
		return matrix.E(matrix.CodeMissingToken, "an access token is needed")
	case x.router.o.Authenticate == nil:
		return matrix.E(matrix.CodeUnknownToken, "the access token is not known")
	}
	c, err := x.router.o.Authenticate(x.r.Context(), token, x.r)
	if err != nil {
		return err
	}
	c.IP, c.Request, c.UserAgent = x.caller.IP, x.caller.Request, x.caller.UserAgent
	x.caller = c
	return nil
}

// identifyServer finds the server that signed a request. The body, which the signature covers, is read for it,
// and the handler reads it again.
func (x *exchange) identifyServer() (err error) {
	if x.router.o.VerifySignature == nil {
		return matrix.E(matrix.CodeUnauthorized, "signatures cannot be verified here")
	}
	x.caller.Origin, err = x.router.o.VerifySignature(x.r, func() ([]byte, error) {
		body, err := ReadBody(x.w, x.r)
		if err == nil && body != nil {
			x.r.Body = io.NopCloser(bytes.NewReader(body))
		}
		return body, err
	})
	return err
}

// token reads the access token of a request.
//
// Spec: CS "Using access tokens".
func (x *exchange) token() (string, error) {
	if header := x.r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", matrix.E(matrix.CodeMissingToken, "the Authorization header is not a bearer token")
		}
		return strings.TrimSpace(token), nil
	}
	if x.router.o.NoQueryToken || !strings.Contains(x.r.URL.RawQuery, "access_token") {
		return "", nil
	}
	return x.r.URL.Query().Get("access_token"), nil
}

// admit refuses callers whom the endpoint is closed to, and those who have asked too often.
func (x *exchange) admit(e *endpoint) error {
	c := x.caller
	switch {
	case c.Locked && !e.lockedToo:
		return matrix.E(matrix.CodeUserLocked, "this account is locked").With("soft_logout", true)
	case c.Suspended && e.notSuspended:
		return matrix.E(matrix.CodeUserSuspended, "this account is suspended")
	case e.adminsOnly && !c.Admin:
		return matrix.Forbidden("only administrators of this server may do this")
	case c.Guest && !e.guestsToo && e.handler.access == accessAuthed:
		return matrix.E(matrix.CodeGuestAccessForbidden, "guests cannot do this")
	case c.Origin != "":
		return x.router.o.Limiter.Server(cmp.Or(e.perServer, "requests"), c.Origin)
	case e.limit == "" || c.Unlimited:
		return nil
	}
	if c.User != "" {
		if err := x.router.o.Limiter.Caller(e.limit, c); err != nil {
			return err
		}
	}
	return x.router.o.Limiter.Address(e.limit, c.IP)
}

// fail answers a request with an error.
func (x *exchange) fail(e *endpoint, err error) {
	if x.w.begun() {
		return // a raw handler failed in the middle of its answer
	}
	fault := asFault(err)
	switch {
	case fault != nil && fault.Code == matrix.CodeLimitExceeded:
		CountLimited(fault)
		x.w.Header().Set("X-RateLimit-Limiter", fault.Limiter)
	case fault != nil:
	case x.gone(err):
		x.w.status = statusGone
		return
	default:
		fault = matrix.E(matrix.CodeUnknown, "internal error, logged as %s", x.caller.Request).WithStatus(http.StatusInternalServerError)
	}
	WriteError(x.w, x.r, fault)
}

// gone says that an error is only that the client went away, whatever became of that below.
func (x *exchange) gone(err error) bool {
	var p *panicked
	return x.r.Context().Err() != nil && !errors.As(err, &p)
}

// report counts and logs a request. The query string is left out: it may have a token.
func (x *exchange) report(e *endpoint, err error, took time.Duration) {
	route := "none"
	if e != nil {
		route = e.path
		requestSeconds.WithLabelValues(route).Observe(took.Seconds())
	}
	requestsTotal.WithLabelValues(x.r.Method[:min(len(x.r.Method), 10)], route, strconv.Itoa(x.w.status)).Inc()

	log := x.router.o.Log
	ours := err != nil && asFault(err) == nil && x.w.status != statusGone
	level := slog.LevelDebug
	if ours {
		level = slog.LevelError
	}
	if !log.Enabled(x.r.Context(), level) || (e != nil && e.noLog && !ours) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request", x.caller.Request), slog.String("method", x.r.Method), slog.String("path", x.r.URL.Path),
		slog.Int("status", x.w.status), slog.Duration("took", took), slog.String("user", string(x.caller.User)),
		slog.String("ip", x.caller.IP.String()),
	}
	if x.caller.Origin != "" {
		attrs = append(attrs, slog.String("origin", string(x.caller.Origin)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	if fault := asFault(err); fault != nil && fault.Limiter != "" {
		attrs = append(attrs, slog.String("limiter", fault.Limiter))
	}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	log.LogAttrs(x.r.Context(), level, "request", attrs...)
}

// panicked is the error of a handler that panicked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// requestNames gives requests short names that are unique among the nodes' logs.
type requestNames struct {
	prefix string
	count  *atomic.Int64
}

func newRequestNames() requestNames {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return requestNames{prefix: hex.EncodeToString(b[:]) + "-", count: new(atomic.Int64)}
}

func (n requestNames) next() string {
	return n.prefix + strconv.FormatInt(n.count.Add(1), 36)
}
