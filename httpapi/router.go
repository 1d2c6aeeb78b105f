package httpapi

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"astrocyte/matrix"
)

// DefaultBodyLimit bounds JSON bodies where neither the router nor the endpoint says otherwise.
const DefaultBodyLimit = 1 << 20

// Options are what a Router needs.
type Options struct {
	Log *slog.Logger
	// Authenticate finds the caller of a token; without it every token is unknown.
	Authenticate Authenticator
	// VerifySignature finds the server that signed a request; without it no signature is good.
	VerifySignature SignatureVerifier
	// Limiter applies the rate limits; nil limits nothing.
	Limiter *Limiter
	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// NoQueryToken refuses access tokens in the query string, which the specification deprecates.
	NoQueryToken bool
	// BodyLimit bounds JSON bodies; 0 is DefaultBodyLimit.
	BodyLimit int64
}

// Router finds the endpoint of a request and serves it. Endpoints are registered before the first
// request; afterwards the router does not change.
type Router struct {
	o         Options
	endpoints []*endpoint
	build     sync.Once
	// groups hold the routes by what a request shows at once, so that it is compared with a handful of
	// routes and not with all.
	groups map[groupKey]*mux.Router
	names  requestNames
}

// New makes a router without endpoints.
func New(o Options) *Router {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BodyLimit == 0 {
		o.BodyLimit = DefaultBodyLimit
	}
	return &Router{o: o, groups: map[groupKey]*mux.Router{}, names: newRequestNames()}
}

// Handle registers the handler of a method and a path such as
// /_matrix/client/v3/rooms/{roomID}/send/{eventType}/{txnID}.
//
// The request struct of a typed handler is filled by the tags of its fields:
//
//	path:"roomID"          a path segment, percent-decoded
//	query:"limit"          a query parameter; []string takes all of that name
//	header:"Content-Type"  a request header
//	json:"reason"          a member of the JSON body, by its exact name
//	body:"whole"           json.RawMessage: the JSON body as it was sent; "whole,optional" may be missing, and is nil then
//
// A further tag required:"true" answers M_MISSING_PARAM where a query parameter, header or member is
// missing. Fields are strings, integers, floats, booleans, pointers to those (nil = not given), or types
// with UnmarshalText; members of the body are anything that encoding/json takes. Identifiers of package
// matrix are parsed wherever they stand, and answered with M_INVALID_PARAM where they are malformed.
func (r *Router) Handle(method, path string, h Handler, opts ...Option) {
	e := &endpoint{router: r, method: method, path: path, handler: h}
	for _, opt := range opts {
		opt(&e.options)
	}
	if e.bodyLimit == 0 {
		e.bodyLimit = r.o.BodyLimit
	}
	r.endpoints = append(r.endpoints, e)
	if e.trailingSlash {
		slash := *e
		slash.path += "/"
		r.endpoints = append(r.endpoints, &slash)
	}
}

// Classes lists the rate-limit classes that endpoints name.
func (r *Router) Classes() []string {
	var classes []string
	for _, e := range r.endpoints {
		if e.limit != "" {
			classes = append(classes, e.limit)
		}
	}
	slices.Sort(classes)
	return slices.Compact(classes)
}

// ServerClasses lists the limits of single servers that endpoints name.
func (r *Router) ServerClasses() []string {
	classes := []string{"requests"}
	for _, e := range r.endpoints {
		if e.perServer != "" {
			classes = append(classes, e.perServer)
		}
	}
	slices.Sort(classes)
	return slices.Compact(classes)
}

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.build.Do(r.buildGroups)
	// The deadline of the answer before on this connection may be long over.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	setCORS(w.Header())
	if req.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	x := &exchange{router: r, w: newRecorder(w), r: req}
	e, err := r.find(req)
	x.serve(e, err)
}

// groupKey is what the routes of a group have in common: the fixed segments at the beginning, and the
// number of slashes, which a variable segment cannot hold.
type groupKey struct {
	prefix  string
	slashes int
}

// groupDepth is the greatest number of fixed segments by which routes are grouped:
// /_matrix/client/v3/rooms.
const groupDepth = 4

// buildGroups hands the endpoints to one mux a group, those with more fixed segments first.
func (r *Router) buildGroups() {
	slices.SortStableFunc(r.endpoints, func(a, b *endpoint) int {
		return cmp.Compare(strings.Count(a.path, "{"), strings.Count(b.path, "{"))
	})
	for _, e := range r.endpoints {
		fixed, _, _ := strings.Cut(e.path, "{")
		key := groupKey{prefixes(fixed)[0], strings.Count(e.path, "/")}
		group := r.groups[key]
		if group == nil {
			group = mux.NewRouter().UseEncodedPath().SkipClean(true)
			r.groups[key] = group
		}
		group.Path(e.path).Methods(e.method).Handler(e)
	}
}

// prefixes gives the beginnings of a path that end before a slash or the end, longest first, of
// groupDepth segments at most.
func prefixes(path string) []string {
	var ends []int
	for i := 1; i < len(path) && len(ends) < groupDepth; i++ {
		if path[i] == '/' {
			ends = append(ends, i)
		}
	}
	if len(ends) < groupDepth && !strings.HasSuffix(path, "/") {
		ends = append(ends, len(path))
	}
	all := make([]string, 0, len(ends)+1)
	for _, end := range slices.Backward(ends) {
		all = append(all, path[:end])
	}
	return append(all, "")
}

// find looks for the endpoint of a request, and keeps its path values in the request.
//
// Spec: CS "API Standards": unknown endpoints are 404, other methods 405, both M_UNRECOGNIZED.
func (r *Router) find(req *http.Request) (*endpoint, error) {
	otherMethod := false
	path := req.URL.EscapedPath()
	slashes := strings.Count(path, "/")
	for _, prefix := range prefixes(path) {
		group := r.groups[groupKey{prefix, slashes}]
		if group == nil {
			continue
		}
		var match mux.RouteMatch
		if group.Match(req, &match) && match.MatchErr == nil {
			return match.Handler.(*endpoint), setPathValues(req, match.Vars)
		}
		otherMethod = otherMethod || match.MatchErr == mux.ErrMethodMismatch
	}
	if otherMethod {
		return nil, matrix.E(matrix.CodeUnrecognized, "this endpoint has no method %s", req.Method).WithStatus(http.StatusMethodNotAllowed)
	}
	return nil, matrix.E(matrix.CodeUnrecognized, "there is no such endpoint")
}

// setPathValues decodes the variable segments of a path. The mux has matched the path as it was sent,
// so that an encoded slash does not end a segment.
func setPathValues(req *http.Request, vars map[string]string) error {
	for name, raw := range vars {
		value, err := url.PathUnescape(raw)
		if err != nil || !isText(value) {
			return matrix.InvalidParam("the path segment of %s is not text", name)
		}
		req.SetPathValue(name, value)
	}
	return nil
}

// isText says whether a value may reach a handler: PostgreSQL has no NUL in text, and the
// specification has no bytes that are not UTF-8.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// cleanText makes a value fit for storing that is only shown, never compared.
func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}
