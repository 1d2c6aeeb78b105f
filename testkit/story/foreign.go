package story

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"astrocyte/egress"
	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Foreign is a server of another make, which says what a test wants it to say. It has a name, a certificate and
// a key, which it publishes; what it answers besides is told by Handle, and whatever it asks is signed by it.
type Foreign struct {
	Name  matrix.ServerName
	KeyID matrix.KeyID
	Key   ed25519.PrivateKey
	// Client asks other servers, in the name of this one.
	Client *peer.Client

	t   testing.TB
	mux *http.ServeMux
}

// NewForeign starts a foreign server at a loopback address of its own, until the test ends.
func NewForeign(t testing.TB) *Foreign {
	t.Helper()
	f := NewFugitive(t)
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		f.Answers(w, 200, json.RawMessage(f.Keys(time.Now().Add(time.Hour))))
	})
	return f
}

// NewFugitive starts a foreign server that does not publish its keys.
func NewFugitive(t testing.TB) *Foreign {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	address := OwnAddress(t)
	f := &Foreign{Name: matrix.ServerName(address), KeyID: "ed25519:foreign", Key: key, t: t, mux: http.NewServeMux()}
	f.Client = f.ClientAs(f.Name, f.KeyID, f.Key)
	l, err := net.Listen("tcp", address+":8448")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler: f.mux, ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{TLSCertificate(t, address)}, NextProtos: []string{"h2", "http/1.1"}},
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		srv.Close()
		<-ended
	})
	return f
}

// ClientAs gives a client that signs as it is told, truly or not.
func (f *Foreign) ClientAs(name matrix.ServerName, id matrix.KeyID, key ed25519.PrivateKey) *peer.Client {
	f.t.Helper()
	c := peer.New(peer.Options{
		Server: name, KeyID: id, Key: key, Egress: egress.New(egress.Options{AllowPrivate: true}), CAs: AuthorityPool(f.t),
	})
	f.t.Cleanup(c.Close)
	return c
}

// Handle sets what is answered to a pattern of package net/http, such as "GET /_matrix/federation/v1/version".
func (f *Foreign) Handle(pattern string, h http.HandlerFunc) { f.mux.HandleFunc(pattern, h) }

// Answers writes an answer.
func (f *Foreign) Answers(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// Keys is what the server publishes of its keys.
func (f *Foreign) Keys(validUntil time.Time) []byte {
	f.t.Helper()
	object := fmt.Sprintf(`{"server_name":%q,"valid_until_ts":%d,"verify_keys":{%q:{"key":%q}},"old_verify_keys":{}}`,
		f.Name, validUntil.UnixMilli(), f.KeyID, canonicaljson.Base64(f.Key.Public().(ed25519.PublicKey)))
	return f.Signs([]byte(object))
}

// Signs signs an object as the server.
func (f *Foreign) Signs(object []byte) []byte {
	f.t.Helper()
	signed, err := canonicaljson.Sign(object, string(f.Name), string(f.KeyID), f.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	return signed
}

// Reached is a server that another one can ask: one that runs within the test, or beside it.
type Reached interface{ ServerName() matrix.ServerName }

// Asks sends a signed request to a server and gives the answer; an answer that is an error is given too.
func (f *Foreign) Asks(s Reached, method, path string, body any) (JSON, error) {
	f.t.Helper()
	var raw json.RawMessage
	err := f.Client.Do(context.Background(), s.ServerName(), peer.Request{Method: method, Path: path, Body: body, Into: &raw})
	if err != nil {
		return JSON{}, err
	}
	return ParseJSON(raw)
}
