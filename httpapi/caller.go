package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"astrocyte/matrix"
)

// Caller is who a request came from. Where no token was given only IP and Request are set.
type Caller struct {
	// Origin is the server that signed the request, at the endpoints for other servers; empty elsewhere.
	Origin matrix.ServerName
	User   matrix.UserID
	Device matrix.DeviceID
	// Guest is set for guest accounts: they reach only the endpoints registered with GuestsToo.
	Guest bool
	// Admin is set for administrators of the server.
	Admin bool
	// Locked accounts reach only the endpoints registered with LockedToo.
	Locked bool
	// Suspended accounts may read, leave and redact their own events; endpoints registered with NotSuspended refuse them.
	Suspended bool
	// Shadowed accounts are answered as others are, but what they send reaches nobody.
	Shadowed bool
	// Messages is the caller's own limit for sending messages; the zero rate: that of the class.
	Messages Rate
	// AppService is the registration that the request acts for, nil for users.
	AppService any
	// Unlimited callers are not rate limited.
	Unlimited bool
	// TokenHash is how the access token is stored, so that a handler can tell this session's token.
	TokenHash []byte
	// IP is the caller's address: the first one that is not a trusted proxy.
	IP netip.Addr
	// UserAgent is what the client calls itself, shortened.
	UserAgent string
	// Request names the request in logs.
	Request string

	audited bool     // who changes something here is logged
	given   []string // then: the members of the body that the endpoint knows
}

// Authenticator finds the caller of an access token, or refuses with a *matrix.Error.
type Authenticator func(ctx context.Context, token string, r *http.Request) (*Caller, error)

// SignatureVerifier finds the server that signed a request, or refuses with a *matrix.Error. It calls read
// for the body once it has found that the rest makes sense; read gives nil where there is no body.
type SignatureVerifier func(r *http.Request, read func() ([]byte, error)) (matrix.ServerName, error)

// maxUserAgent bounds what is kept of a User-Agent header.
const maxUserAgent = 200

func shortAgent(r *http.Request) string {
	agent := r.UserAgent()
	if len(agent) > maxUserAgent {
		agent = agent[:maxUserAgent]
	}
	return strings.Clone(cleanText(agent)) // not a part of the header that it stood in
}
