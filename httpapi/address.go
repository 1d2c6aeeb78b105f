package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientAddress is the address a request came from. Behind trusted proxies it is the last address in
// X-Forwarded-For that is not one of them: what stands before that may be made up by the client.
func ClientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := peerAddress(r.RemoteAddr)
	if len(trusted) == 0 || !anyContains(trusted, addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next := peerAddress(strings.TrimSpace(hop))
		if !next.IsValid() {
			return addr
		}
		addr = next
		if !anyContains(trusted, addr) {
			return addr
		}
	}
	return addr
}

// peerAddress reads an address with or without a port.
func peerAddress(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func anyContains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}
