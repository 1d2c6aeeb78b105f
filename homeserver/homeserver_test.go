package homeserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/config"
)

// settings are those of a small server of its own.
func settings(t *testing.T) *config.Config {
	dir, err := os.MkdirTemp("", "hs") // short: a socket's path has a bound
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := config.Default()
	c.ServerName = "localhost"
	c.DataDir = dir
	c.Listeners = []config.Listener{{Address: "127.0.0.1:0"}}
	c.Passwords.Hash, c.Passwords.BcryptCost = "bcrypt", 4
	return c
}

// running makes and runs a server; stop stops it and waits.
func running(t *testing.T, o Options) (hs *Server, stop func()) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	hs, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- hs.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return hs, stop
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestServerStartsAndStops(t *testing.T) {
	t.Parallel()
	c := settings(t)
	c.Metrics.Address = "127.0.0.1:0"
	hs, stop := running(t, Options{Config: c})
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/_matrix/nothing": 404} {
		if status, body := get(t, http.DefaultClient, hs.URLs()[0]+path); status != want {
			t.Errorf("%s is %d %s", path, status, body)
		}
	}
	if status, body := get(t, http.DefaultClient, hs.metrics.url()+"/metrics"); status != 200 || !strings.Contains(body, `astrocyte_http_requests_total{method="GET",route="/healthz",status="200"}`) {
		t.Errorf("metrics are %d %s", status, body)
	}
	stop()
	if _, err := http.Get(hs.URLs()[0] + "/healthz"); err == nil {
		t.Error("a stopped server answers")
	}
	again, _ := running(t, Options{Config: c})
	if !bytes.Equal(again.key.Private, hs.key.Private) {
		t.Error("the signing key is another one after a restart")
	}
}

func TestFolderIsNotShared(t *testing.T) {
	t.Parallel()
	c := settings(t)
	running(t, Options{Config: c})
	if _, err := New(t.Context(), Options{Config: c, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a second server was made on the database")
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := settings(t)
	c.Listeners[0].Address = l.Addr().String()
	for range 2 { // what the first has opened is closed
		_, err = New(t.Context(), Options{Config: c, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestSigningKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has mode %v, %v", stat.Mode(), err)
	}
	again, err := LoadKey(dir)
	if err != nil || again.ID != key.ID || !bytes.Equal(again.Private, key.Private) {
		t.Errorf("read %v after %v, %v", again.ID, key.ID, err)
	}
	for _, bad := range []string{"", "ed25519 a_1", "ed25519 a_1 xx", "rsa a_1 " + strings.Repeat("A", 43)} {
		if _, err := parseKey(bad); err == nil {
			t.Errorf("key %q was taken", bad)
		}
	}
}

// TestLimitsAreSettings holds the classes that endpoints name against the settings: a class that is
// not there would limit nothing.
func TestLimitsAreSettings(t *testing.T) {
	t.Parallel()
	hs, _ := running(t, Options{Config: settings(t)})
	classes := config.Default().RateLimits.Classes()
	for _, class := range hs.router.Classes() {
		if _, found := classes[class]; !found {
			t.Errorf("endpoints are limited by %q, which is no setting", class)
		}
	}
	servers := config.Default().RateLimits.Servers.Classes()
	for _, class := range hs.router.ServerClasses() {
		if _, found := servers[class]; !found {
			t.Errorf("other servers are limited by %q, which is no setting", class)
		}
	}
}

// certify writes a certificate that names itself.
func certify(t *testing.T, dir, name string) (files config.TLS) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files = config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{files.Certificate: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestTLSAndReload(t *testing.T) {
	t.Parallel()
	c := settings(t)
	c.Listeners = append(c.Listeners, config.Listener{Address: "127.0.0.1:0", TLS: certify(t, c.DataDir, "first")})
	hangup, reread := make(chan os.Signal), make(chan *config.Config, 1)
	level := new(slog.LevelVar)
	hs, _ := running(t, Options{Config: c, Level: level, Hangup: hangup, Reread: func() (*config.Config, error) {
		select {
		case next := <-reread:
			return next, nil
		default:
			return nil, errors.New("no settings")
		}
	}})
	name := func() string {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
		defer client.CloseIdleConnections()
		resp, err := client.Get(hs.URLs()[1] + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Errorf("it is %s, not HTTP/2", resp.Proto)
		}
		return resp.TLS.PeerCertificates[0].DNSNames[0]
	}
	if got := name(); got != "first" {
		t.Errorf("the certificate is %s", got)
	}
	next := *c
	next.Log.Level = "debug"
	next.Registration.Enabled = true
	certify(t, c.DataDir, "second")
	reread <- &next
	hangup <- os.Interrupt
	hangup <- os.Interrupt // is taken when the first is done
	if got := name(); got != "second" {
		t.Errorf("the certificate is %s after the reload", got)
	}
	if level.Level() != slog.LevelDebug || !hs.accounts.Registration().Enabled {
		t.Error("log level or registration were not reloaded")
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	c := settings(t)
	_, stop := running(t, Options{Config: c})
	client, is := ControlClient(c.DataDir)
	if !is {
		t.Fatal("there is no control socket")
	}
	if stat, err := os.Stat(ControlSocket(c.DataDir)); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", stat.Mode(), err)
	}
	ask := func(method, path, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequest(method, "http://control"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, answer
	}
	for _, test := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/users", `{"name":"alice","password":"long enough","admin":true}`, 200},
		{"POST", "/users", `{"name":"alice","password":"long enough"}`, 400},
		{"POST", "/users", `{"name":"@bob:localhost","password":"short"}`, 400},
		{"POST", "/users", `{"name":"@bob:elsewhere","password":"long enough"}`, 400},
		{"POST", "/users/alice/password", `{"password":"long enough too"}`, 200},
		{"POST", "/users/nobody/password", `{"password":"long enough too"}`, 404},
		{"POST", "/users/@alice:localhost/deactivate", `{}`, 200},
		{"POST", "/registration-tokens", `{"token":"abc","uses":3}`, 200},
		{"POST", "/registration-tokens", `{"token":"not good"}`, 400},
	} {
		if status, answer := ask(test.method, test.path, test.body); status != test.status {
			t.Errorf("%s %s %s is %d %v", test.method, test.path, test.body, status, answer)
		}
	}
	_, users := ask("GET", "/users", "")
	if all := users["users"].([]any); len(all) != 1 || all[0].(map[string]any)["deactivated"] != true {
		t.Errorf("the users are %v", users)
	}
	_, tokens := ask("GET", "/registration-tokens", "")
	if all := tokens["tokens"].([]any); len(all) != 1 || all[0].(map[string]any)["uses"] != 3.0 {
		t.Errorf("the tokens are %v", tokens)
	}
	stop()
	if _, is := ControlClient(c.DataDir); is {
		t.Error("the socket of a stopped server is open")
	}
}

func TestPartsStopFromTheTop(t *testing.T) {
	t.Parallel()
	var ended []string
	failed := errors.New("broken")
	parts := func(fail string) []part {
		var all []part
		for _, name := range []string{"ground", "middle", "top"} {
			all = append(all, part{name, func(ctx context.Context) error {
				if name == fail {
					return failed
				}
				<-ctx.Done()
				ended = append(ended, name) // one after the other: no lock needed
				return ctx.Err()
			}})
		}
		return all
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runParts(ctx, parts("")); err != nil || !slices.Equal(ended, []string{"top", "middle", "ground"}) {
		t.Errorf("stopped in the order %v, %v", ended, err)
	}
	ended = nil
	if err := runParts(t.Context(), parts("middle")); !errors.Is(err, failed) || !strings.Contains(err.Error(), "middle: broken") || !slices.Equal(ended, []string{"top", "ground"}) {
		t.Errorf("stopped in the order %v, %v", ended, err)
	}
}
