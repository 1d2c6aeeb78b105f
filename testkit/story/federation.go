package story

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
)

// StartFederated starts servers that federate with each other over TLS, one on each database. Each has a
// loopback address of its own, which is its name: the first at the default port, the others with a port in
// their names. Clients reach them over HTTP, as ever.
func StartFederated(t testing.TB, dsns ...string) []*Server {
	t.Helper()
	servers := make([]*Server, len(dsns))
	for i, dsn := range dsns {
		name := OwnAddress(t)
		if i > 0 {
			name += ":8448"
		}
		servers[i] = StartAs(t, matrix.ServerName(name), dsn)
	}
	return servers
}

// StartAs starts a server of a name that federates: a loopback address, with or without the port 8448.
func StartAs(t testing.TB, name matrix.ServerName, dsn string, options ...Option) *Server {
	t.Helper()
	host, _ := name.Split()
	federates := func(c *config.Config) {
		c.ServerName = name
		c.Listeners = append(c.Listeners, config.Listener{Address: host + ":8448", TLS: Certificate(t, host)})
		c.Federation.AllowPrivateAddresses = true
		c.Federation.CertificateAuthorities = []string{Authority(t)}
	}
	return Start(t, dsn, append([]Option{federates}, options...)...)
}

// OwnAddress gives a loopback address at which nothing listens at port 8448, and which no other test gets: all
// of 127.0.0.0/8 is this machine.
func OwnAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		var b [3]byte
		if _, err := rand.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("127.%d.%d.%d", 1+b[0]%254, b[1], 1+b[2]%254)
		if l, err := net.Listen("tcp", address+":8448"); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no loopback address is free: these tests need all of 127.0.0.0/8, as Linux has it")
	return ""
}

// authority is the certificate authority of a test binary.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

var testAuthority = sync.OnceValues(func() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Astrocyte's tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, err
})

// Authority gives the file with the certificate authority of the tests.
func Authority(t testing.TB) string {
	t.Helper()
	a, err := testAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "authority.pem", a.pem)
}

// AuthorityPool gives the certificate authority of the tests.
func AuthorityPool(t testing.TB) *x509.CertPool {
	t.Helper()
	a, err := testAuthority()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Certificate gives the files of a certificate for hosts: names or addresses.
func Certificate(t testing.TB, hosts ...string) config.TLS {
	t.Helper()
	cert, key := certify(t, hosts)
	return config.TLS{Certificate: writeFile(t, "cert.pem", cert), Key: writeFile(t, "key.pem", key)}
}

// TLSCertificate gives a certificate for hosts.
func TLSCertificate(t testing.TB, hosts ...string) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(certify(t, hosts))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func certify(t testing.TB, hosts []string) (cert, key []byte) {
	t.Helper()
	a, err := testAuthority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func writeFile(t testing.TB, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
