package httpapi

import "net/http"

// endpoint is one method of one path, with its options.
type endpoint struct {
	router  *Router
	method  string
	path    string
	handler Handler
	options
}

type options struct {
	perServer     string
	limit         string
	bodyLimit     int64
	noLog         bool
	trailingSlash bool
	guestsToo     bool
	lockedToo     bool
	notSuspended  bool
	adminsOnly    bool
	audited       bool
}

// Option changes how an endpoint is served.
type Option func(*options)

// Limit names the rate-limit class of an endpoint. An endpoint without one is not limited.
func Limit(class string) Option { return func(o *options) { o.limit = class } }

// PerServer names the limit of an endpoint that other servers reach by signed requests, each server by itself; those
// that name none share the one of requests.
func PerServer(class string) Option { return func(o *options) { o.perServer = class } }

// BodyLimit bounds the body of an endpoint in bytes, in place of the router's limit.
func BodyLimit(n int64) Option { return func(o *options) { o.bodyLimit = n } }

// NoLog keeps an endpoint that is asked by machines every few seconds out of the log.
func NoLog() Option { return func(o *options) { o.noLog = true } }

// TrailingSlash serves the path with a slash at its end as well, where the specification allows both.
func TrailingSlash() Option { return func(o *options) { o.trailingSlash = true } }

// GuestsToo opens an endpoint to guest accounts.
//
// Spec: CS "Guest Access".
func GuestsToo() Option { return func(o *options) { o.guestsToo = true } }

// LockedToo opens an endpoint to locked accounts.
//
// Spec: CS "Account locking".
func LockedToo() Option { return func(o *options) { o.lockedToo = true } }

// NotSuspended closes an endpoint to suspended accounts.
//
// Spec: CS "Account suspension".
func NotSuspended() Option { return func(o *options) { o.notSuspended = true } }

// AdminsOnly closes an endpoint to all but the administrators of the server. What they change is audited.
func AdminsOnly() Option { return func(o *options) { o.adminsOnly = true } }

// Audited has each request logged that got so far as to be tried: who asked for it, about what, and what came of it.
func Audited() Option { return func(o *options) { o.audited = true } }

// audit says whether requests are logged as changes that somebody has to answer for.
func (e *endpoint) audit() bool { return e.audited || e.adminsOnly && e.method != http.MethodGet }

// ServeHTTP makes an endpoint a handler that the mux can hold; the router calls serve by itself.
func (e *endpoint) ServeHTTP(http.ResponseWriter, *http.Request) {}
