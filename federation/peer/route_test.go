package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"astrocyte/egress"
	"astrocyte/matrix"
)

// nameServer answers questions of DNS as a test wants it.
type nameServer struct {
	mu    sync.Mutex // guards the maps
	hosts map[string][4]byte
	srv   map[string][]dnsmessage.SRVResource
	asked atomic.Int64
}

// resolver starts the name server, and gives what asks it.
func (n *nameServer) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.serve(conn)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (n *nameServer) serve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
			continue
		}
		n.asked.Add(1)
		m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
		q := m.Questions[0]
		name := strings.TrimSuffix(q.Name.String(), ".")
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
		n.mu.Lock()
		records := n.srv[name]
		a, ok := n.hosts[name]
		n.mu.Unlock()
		for _, r := range records {
			if q.Type == dnsmessage.TypeSRV {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &r})
			}
		}
		if ok {
			m.RCode = dnsmessage.RCodeSuccess
			if q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a}})
			}
		}
		if len(m.Answers) > 0 {
			m.RCode = dnsmessage.RCodeSuccess
		}
		if packed, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(packed, from)
		}
	}
}

// serves sets the SRV records of a name.
func (n *nameServer) serves(name string, records ...dnsmessage.SRVResource) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.srv[name] = records
}

// isHere gives a host the address of this machine.
func (n *nameServer) isHere(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = [4]byte{127, 0, 0, 1}
}

func srv(priority, port uint16, target string) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Priority: priority, Port: port, Target: dnsmessage.MustNewName(target + ".")}
}

// world is a client in a small internet: one server that has the names example.com and 127.0.0.1.
type world struct {
	*Client
	server *httptest.Server
	names  *nameServer
	now    time.Time
	hosts  chan string // Host headers of the requests
	well   http.HandlerFunc
	asked  int // how often .well-known was
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{names: &nameServer{hosts: map[string][4]byte{}, srv: map[string][]dnsmessage.SRVResource{}}, now: time.Unix(1_800_000_000, 0), hosts: make(chan string, 10)}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/matrix/server":
			w.asked++
			w.well(rw, r)
		default:
			w.hosts <- r.Host
			fmt.Fprint(rw, `{}`)
		}
	}))
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.well = http.NotFound
	pool := x509.NewCertPool()
	pool.AddCert(w.server.Certificate())
	resolver := w.names.resolver(t)
	_, key, _ := ed25519.GenerateKey(nil)
	w.Client = New(Options{
		Server: "here.example", KeyID: "ed25519:1", Key: key, CAs: pool, Resolver: resolver, Agent: "Astrocyte/test",
		Egress: egress.New(egress.Options{AllowPrivate: true, Resolver: resolver}), Now: func() time.Time { return w.now },
	})
	t.Cleanup(w.Close)
	// .well-known is always asked at port 443, which a test cannot have.
	w.wellKnown.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasSuffix(address, ":443") {
			return w.o.Egress.DialContext(ctx, network, address)
		}
		if !strings.HasPrefix(address, "example.com:") {
			return nil, errors.New("nobody is there")
		}
		return new(net.Dialer).DialContext(ctx, network, w.server.Listener.Addr().String())
	}
	return w
}

func (w *world) port(t *testing.T) uint16 {
	t.Helper()
	at, err := netip.ParseAddrPort(w.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return at.Port()
}

func says(server string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"m.server": server})
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ server, wellKnown, address, host string }{
		{"192.0.2.1", "", "192.0.2.1:8448", "192.0.2.1"},
		{"192.0.2.1:99", "", "192.0.2.1:99", "192.0.2.1:99"},
		{"[2001:db8::1]", "", "[2001:db8::1]:8448", "[2001:db8::1]"},
		{"[2001:db8::1]:99", "", "[2001:db8::1]:99", "[2001:db8::1]:99"},
		{"example.com:99", "elsewhere.example", "example.com:99", "example.com:99"},
		{"example.com", "192.0.2.1", "192.0.2.1:8448", "192.0.2.1"},
		{"example.com", "192.0.2.1:99", "192.0.2.1:99", "192.0.2.1:99"},
		{"example.com", "matrix.example.com:443", "matrix.example.com:443", "matrix.example.com:443"},
		{"example.com", "matrix.example.com", "matrix.example.com:0", "matrix.example.com"},
		{"example.com", "", "example.com:0", "example.com"},
		{"example.com", "not a name", "example.com:0", "example.com"},
		{"example.com", "https://matrix.example.com", "example.com:0", "example.com"},
		{"example.org", "", "example.org:0", "example.org"},
	} {
		w := newWorld(t)
		if test.wellKnown != "" {
			w.well = says(test.wellKnown)
		}
		to, err := w.route(t.Context(), matrix.ServerName(test.server))
		if err != nil || to.address != test.address || to.host != test.host {
			t.Errorf("%+v leads to %+v, %v", test, to, err)
		}
	}
	if _, err := newWorld(t).route(t.Context(), "a/b"); err == nil {
		t.Error("a name that is none leads somewhere")
	}
}

// TestHostsByDNS goes by SRV records, the newer service first, and else to the default port.
func TestHostsByDNS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.names.serves("_matrix-fed._tcp.both.example", srv(20, 2, "second.example"), srv(10, 1, "first.example"))
	w.names.serves("_matrix._tcp.both.example", srv(10, 3, "old.example"))
	w.names.serves("_matrix._tcp.old.example", srv(10, 3, "matrix.old.example"))
	w.names.serves("_matrix-fed._tcp.none.example", srv(0, 0, ""))
	for name, want := range map[string][]string{
		"both.example":  {"first.example:1", "second.example:2"},
		"old.example":   {"matrix.old.example:3"},
		"none.example":  {"none.example:8448"},
		"plain.example": {"plain.example:8448"},
	} {
		if got := w.hostsOf(t.Context(), name); !slices.Equal(got, want) {
			t.Errorf("%s is at %q", name, got)
		}
	}
}

// TestRequestBySRV: the certificate is for the server's name and not for the host that the record names, and
// hosts that do not answer are passed over.
func TestRequestBySRV(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.names.isHere("host.example")
	w.names.serves("_matrix-fed._tcp.example.com", srv(1, 1, "gone.example"), srv(2, w.port(t), "host.example"))
	if err := w.Do(t.Context(), "example.com", Request{Method: "GET", Path: "/x"}); err != nil {
		t.Fatal(err)
	}
	if host := <-w.hosts; host != "example.com" {
		t.Errorf("the Host header is %q", host)
	}
	w.names.serves("_matrix-fed._tcp.other.example", srv(2, w.port(t), "host.example"))
	err := w.Do(t.Context(), "other.example", Request{Method: "GET", Path: "/x"})
	var wrong x509.HostnameError
	if !errors.As(err, new(*Unreachable)) || !errors.As(err, &wrong) {
		t.Errorf("a certificate of another name is taken: %v", err)
	}
}

func TestWellKnownIsRemembered(t *testing.T) {
	t.Parallel()
	const at = "192.0.2.1:99"
	for _, test := range []struct {
		name      string
		says      http.HandlerFunc
		kept      time.Duration // still known after it
		forgotten time.Duration // asked again after it
	}{
		{"as a rule", says(at), 23 * time.Hour, 25 * time.Hour},
		{"max-age", says(at, "Cache-Control", "public, max-age=7200"), time.Hour, 3 * time.Hour},
		{"a long max-age", says(at, "Cache-Control", "max-age=99999999"), 47 * time.Hour, 49 * time.Hour},
		{"no max-age", says(at, "Cache-Control", "max-age=0"), 4 * time.Minute, 6 * time.Minute},
		{"no-store", says(at, "Cache-Control", "no-store"), 4 * time.Minute, 6 * time.Minute},
		{"Expires", says(at, "Expires", time.Unix(1_800_000_000+7200, 0).UTC().Format(http.TimeFormat)), time.Hour, 3 * time.Hour},
		{"a failure", http.NotFound, time.Minute, 3 * time.Minute},
		{"a failure for a moment", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, 4 * time.Second, 6 * time.Second},
		{"a cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 4 * time.Second, 6 * time.Second},
	} {
		w := newWorld(t)
		w.well = test.says
		start := w.now
		for i, step := range []struct {
			after time.Duration
			asked int
		}{{0, 1}, {test.kept, 1}, {test.forgotten, 2}} {
			w.now = start.Add(step.after)
			if _, err := w.route(t.Context(), "example.com"); err != nil {
				t.Fatal(err)
			}
			if w.asked != step.asked {
				t.Errorf("%s, step %d: asked %d times, not %d", test.name, i, w.asked, step.asked)
			}
		}
	}
}

// TestWellKnownOutlivesAFailure: a server that was delegated a while ago is, while its web server is down.
func TestWellKnownOutlivesAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.well = says("192.0.2.1:99")
	for day := range 3 {
		to, err := w.route(t.Context(), "example.com")
		if err != nil || to.address != "192.0.2.1:99" {
			t.Errorf("day %d: %+v, %v", day, to, err)
		}
		w.well = func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "down", http.StatusServiceUnavailable) }
		w.now = w.now.Add(25 * time.Hour)
	}
	for range 5 {
		w.now = w.now.Add(2 * time.Hour)
		_, _ = w.route(t.Context(), "example.com")
	}
	if to, _ := w.route(t.Context(), "example.com"); to.address != "example.com:0" {
		t.Errorf("after days without an answer: %+v", to)
	}
}

func TestWellKnownThatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, well := range map[string]http.HandlerFunc{
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"m.server":"a.example:1","x":%q}`, strings.Repeat("x", maxWellKnown))
		},
		"not JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `a.example:1`) },
		"a number": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"m.server":1}`) },
		"another status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			fmt.Fprint(w, `{"m.server":"a.example:1"}`)
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"leaves HTTPS": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/.well-known/matrix/server", http.StatusFound)
		},
		"breaks off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty":      says(""),
	} {
		w := newWorld(t)
		w.well = well
		if to, err := w.route(t.Context(), "example.com"); err != nil || to.address != "example.com:0" {
			t.Errorf("%s: %+v, %v", name, to, err)
		}
	}
	w := newWorld(t)
	hops := 0
	w.well = func(rw http.ResponseWriter, r *http.Request) {
		if hops++; hops <= maxRedirects {
			http.Redirect(rw, r, "https://example.com/.well-known/matrix/server", http.StatusFound)
			return
		}
		says("a.example:1")(rw, r)
	}
	if to, err := w.route(t.Context(), "example.com"); err != nil || to.address != "a.example:1" {
		t.Errorf("after %d redirects: %+v, %v", hops, to, err)
	}
}

// TestEgressOfPeers: what a server's name, its .well-known or its DNS lead to is not reached where the policy does
// not allow it.
func TestEgressOfPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.names.isHere("inside.example")
	w.names.serves("_matrix-fed._tcp.record.example", srv(1, w.port(t), "inside.example"))
	w.o.Egress = egress.New(egress.Options{Resolver: w.o.Resolver})
	w.transport = w.newTransport()
	w.well = says(w.server.Listener.Addr().String())
	for _, server := range []matrix.ServerName{
		matrix.ServerName(w.server.Listener.Addr().String()), "[::1]", "127.0.0.1", "example.com", "record.example",
		matrix.ServerName(fmt.Sprintf("inside.example:%d", w.port(t))),
	} {
		err := w.Do(t.Context(), server, Request{Method: "GET", Path: "/x"})
		var denied *egress.Denied
		if !errors.As(err, &denied) {
			t.Errorf("%s: %v", server, err)
		}
	}
	if len(w.hosts) > 0 {
		t.Error("the server was reached")
	}
}

func FuzzRouteByName(f *testing.F) {
	for _, s := range []string{"a.org", "a.org:1", "[::1]:1", "1.2.3.4", "a:0", "[::1%25x]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := matrix.ParseServerName(s)
		if err != nil {
			return
		}
		to, ok := routeByName(name)
		if !ok {
			to = byDNS(name)
		}
		host, port, err := net.SplitHostPort(to.address)
		if err != nil || host == "" || port == "" {
			t.Fatalf("%q leads to %q: %v", s, to.address, err)
		}
		req, err := http.NewRequest("GET", "https://"+to.address+"/x", nil)
		if err != nil || req.URL.Host != to.address || req.URL.Path != "/x" {
			t.Fatalf("%q leads to %q, of which a request makes %v: %v", s, to.address, req, err)
		}
	})
}
