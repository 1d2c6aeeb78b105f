// Package egress decides which addresses this server may connect to when somebody else chose where: links
// in messages, other servers, push gateways. It keeps outsiders from reaching through the server into the
// networks that it stands in.
//
// Invariants:
//   - the address that is judged is the one that is connected to, after the name was looked up: a name that
//     changes its address between two look-ups gains nothing;
//   - every connection is judged, so every hop of a redirect is;
//   - without settings, only addresses of the public internet are allowed.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Options say what a Policy allows beside the public internet, and what it does not.
type Options struct {
	// AllowPrivate allows all addresses but those of Deny: for tests and networks without the internet.
	AllowPrivate bool
	// Allow are ranges that are allowed although they are not public; Deny goes before everything.
	Allow, Deny []netip.Prefix
	// Resolver looks names up, nil for that of the system.
	Resolver *net.Resolver
}

// Policy says which addresses may be connected to.
type Policy struct{ o Options }

// New makes a policy.
func New(o Options) *Policy { return &Policy{o} }

// Denied is the error of a connection that the policy does not allow.
type Denied struct{ Address netip.Addr }

func (d *Denied) Error() string { return fmt.Sprintf("connections to %s are not allowed", d.Address) }

// special are the ranges that are not of the public internet, or that stand for other addresses.
//
// Spec: IANA IPv4 and IPv6 Special-Purpose Address Registries.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, reserved, broadcast
	netip.MustParsePrefix("::/8"),        // unspecified, loopback, IPv4-compatible and -mapped, NAT64
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo, ORCHID, benchmarking
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4, which holds an IPv4 address
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/9"), // link-local and the old site-local
	netip.MustParsePrefix("ff00::/8"),
}

// Allows says whether an address may be connected to.
func (p *Policy) Allows(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	within := func(ranges []netip.Prefix) bool {
		return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(addr) })
	}
	switch {
	case !addr.IsValid() || within(p.o.Deny):
		return false
	case p.o.AllowPrivate || within(p.o.Allow):
		return true
	}
	return !within(special)
}

// connectTime bounds the look-up and the connection.
const connectTime = 10 * time.Second

// DialContext connects like net.Dialer, to allowed addresses only.
func (p *Policy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTime, Resolver: p.o.Resolver, Control: p.control}
	return d.DialContext(ctx, network, address)
}

// control judges an address right before it is connected to.
func (p *Policy) control(network, address string, _ syscall.RawConn) error {
	switch network {
	case "tcp4", "tcp6":
	default:
		return fmt.Errorf("connections by %s are not allowed", network)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("judge address: %w", err)
	}
	if !p.Allows(at.Addr()) {
		return &Denied{at.Addr().Unmap()}
	}
	return nil
}

// Transport makes an HTTP transport whose connections the policy judges. It uses no proxy of the
// environment: the proxy's address would be judged, and not where it connects to.
func (p *Policy) Transport() *http.Transport {
	return &http.Transport{
		DialContext:            p.DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    connectTime,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
