package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"astrocyte/matrix"
)

// route is where a server is spoken to.
type route struct {
	// address is the name that the certificate must have and the port. Port 0 stands for what DNS says: the
	// port and hosts of SRV records, or else the default port. Requests with the same address share connections.
	address string
	// host is the Host header.
	host string
}

const (
	defaultPort = "8448"
	portByDNS   = "0"
)

// route finds where a server is spoken to.
//
// Spec: SS "Resolving server names"
func (c *Client) route(ctx context.Context, server matrix.ServerName) (route, error) {
	if _, err := matrix.ParseServerName(string(server)); err != nil {
		return route{}, fmt.Errorf("resolve %.80q: not a server name", string(server))
	}
	if to, ok := routeByName(server); ok { // steps 1 and 2
		return to, nil
	}
	delegated, err := c.wellKnown.delegated(ctx, server)
	if err != nil {
		return route{}, err
	}
	if delegated == "" { // steps 4 to 6
		return byDNS(server), nil
	}
	if to, ok := routeByName(delegated); ok { // steps 3.1 and 3.2
		return to, nil
	}
	return byDNS(delegated), nil // steps 3.3 to 3.5
}

// routeByName is the route of a name that says all: an address, or a name with a port.
func routeByName(name matrix.ServerName) (route, bool) {
	host, port := name.Split()
	if port == "" && !isAddress(host) {
		return route{}, false
	}
	if port == "" {
		port = defaultPort
	}
	return route{address: host + ":" + port, host: string(name)}, true
}

func byDNS(name matrix.ServerName) route {
	return route{address: string(name) + ":" + portByDNS, host: string(name)}
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// connectTime bounds the handshake with one address.
const connectTime = 10 * time.Second

func (c *Client) newTransport() *http.Transport {
	t := c.o.Egress.Transport()
	t.DialTLSContext = c.dial
	t.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not without TLS") }
	t.ResponseHeaderTimeout = 0 // requests have deadlines of their own
	t.IdleConnTimeout = 90 * time.Second
	t.MaxIdleConns = 1000
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second}
	return t
}

// dial connects to an address of a route.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if port != portByDNS {
		return c.dialTLS(ctx, network, address, name)
	}
	var failed error
	for _, at := range c.hostsOf(ctx, name) {
		conn, err := c.dialTLS(ctx, network, at, name)
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

func (c *Client) dialTLS(ctx context.Context, network, address, name string) (net.Conn, error) {
	raw, err := c.o.Egress.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{
		ServerName: name, RootCAs: c.o.CAs, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	})
	shake, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := conn.HandshakeContext(shake); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return conn, nil
}

// maxHosts bounds how many hosts of one server are tried.
const maxHosts = 8

// hostsOf gives the addresses of a server by its SRV records, best first, or else its own name with the
// default port.
//
// Spec: SS "Resolving server names", 3.3 to 3.5 and 4 to 6
func (c *Client) hostsOf(ctx context.Context, name string) []string {
	for _, service := range []string{"matrix-fed", "matrix"} {
		_, records, err := c.o.Resolver.LookupSRV(ctx, service, "tcp", name)
		if err != nil && len(records) == 0 {
			continue
		}
		var all []string
		for _, r := range records[:min(len(records), maxHosts)] {
			target := strings.TrimSuffix(r.Target, ".")
			if target == "" || isAddress(target) {
				continue // "." says that there is no such service; an address is not allowed here
			}
			all = append(all, net.JoinHostPort(target, strconv.Itoa(int(r.Port))))
		}
		if len(all) > 0 {
			return all
		}
	}
	return []string{net.JoinHostPort(name, defaultPort)}
}
