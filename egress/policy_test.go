package egress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"astrocyte/egress"
)

func TestPolicyAllowsPublicAddressesOnly(t *testing.T) {
	t.Parallel()
	p := egress.New(egress.Options{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("8.8.8.0/24"), netip.MustParsePrefix("10.1.2.0/24")},
	})
	for address, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700:4700::1111": true, "93.184.216.34": true,
		"8.8.8.8": false, "10.1.1.1": true, "10.1.2.3": false,
		"0.0.0.0": false, "10.0.0.1": false, "100.64.0.1": false, "127.0.0.1": false, "127.8.9.1": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "172.32.0.1": true,
		"192.168.1.1": false, "198.18.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:1.1.1.1": true, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:0:1::": false, "fc00::1": false, "fd12::1": false,
		"fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
	} {
		if got := p.Allows(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: allowed %v, want %v", address, got, want)
		}
	}
	if p.Allows(netip.Addr{}) {
		t.Error("an address that is none is allowed")
	}
}

func TestDialJudgesWhatANameStandsFor(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())

	for _, host := range []string{"127.0.0.1", "localhost", "0x7f000001", "2130706433"} {
		var denied *egress.Denied
		conn, err := egress.New(egress.Options{}).DialContext(context.Background(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			conn.Close()
			t.Errorf("%s: connected", host)
		} else if host == "localhost" && !errors.As(err, &denied) {
			t.Errorf("%s: %v, want a denial", host, err)
		}
	}
	conn, err := egress.New(egress.Options{AllowPrivate: true}).DialContext(context.Background(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestTransportJudgesEveryHop(t *testing.T) {
	t.Parallel()
	inner := httptest.NewServer(http.NotFoundHandler())
	defer inner.Close()
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusFound))
	defer outer.Close()
	// The second hop goes to another loopback address, which is denied.
	_, port, _ := net.SplitHostPort(inner.Listener.Addr().String())
	outer.Config.Handler = http.RedirectHandler("http://127.0.0.2:"+port, http.StatusFound)
	p := egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	resp, err := (&http.Client{Transport: p.Transport()}).Get(outer.URL)
	var denied *egress.Denied
	if !errors.As(err, &denied) {
		if err == nil {
			resp.Body.Close()
		}
		t.Fatalf("the redirect was followed: %v", err)
	}
}
