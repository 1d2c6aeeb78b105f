package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"astrocyte/config"
)

func TestTenLinesAreEnough(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "astrocyte.yaml")
	text := `server_name: example.org
public_url: https://matrix.example.org
data_dir: /var/lib/astrocyte
listeners:
  - address: 0.0.0.0:443
    tls: {certificate: cert.pem, key: key.pem}
registration:
  enabled: true
  token_required: true
rate_limits: {message: {account: {per_second: 5}}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Listeners[0].TLS.Key, filepath.Join(filepath.Dir(file), "key.pem"); got != want {
		t.Errorf("key file is %s, not %s", got, want)
	}
	if got := c.DSN(); got != "sqlite:/var/lib/astrocyte/astrocyte.db" {
		t.Errorf("DSN is %s", got)
	}
	if rate := c.RateLimits.Message.Account; rate.PerSecond != 5 || rate.Burst != 50 {
		t.Errorf("the rate is %+v: what is not given keeps its default", rate)
	}
	if !c.Registration.TokenRequired || c.Log.Level != "info" {
		t.Errorf("read %+v", c)
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("f.yaml", []byte(`server_nam: example.org
database: mysql://x
listeners:
  - address: here
    tls: {certificate: a}
  - adress: 127.0.0.1:1
registration: yes please
registration:
  enabled: maybe
sessions:
  access_token_lifetime: soon
rate_limits:
  login: {account: {per_second: 1, burst: -1}}
  users: [{user: alice, factor: 2}]
log: {level: loud}
`))
	var faults *config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{
		"line 1: server_nam: there is no such setting; is server_name meant?",
		"server_name: must be given",
		`line 2: database: must begin with "sqlite:" or "postgres://"`,
		`line 4: listeners[0].address: "here" is not an address`,
		"line 5: listeners[0].tls: needs both",
		"line 6: listeners[1].adress: there is no such setting; is address meant?",
		"line 7: registration: must be a group of settings",
		"line 8: registration: is given twice",
		"line 11: sessions.access_token_lifetime: \"soon\" is not a span of time",
		"line 13: rate_limits.login.account.burst: must be between",
		`line 14: rate_limits.users[0].user: "alice" is not a user ID`,
		`line 15: log.level: must be debug, info, warn or error, not "loud"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestBrokenYAMLIsToldWithItsLine(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("f.yaml", []byte("server_name: a\n  b: [\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2: not valid YAML") {
		t.Errorf("error is %v", err)
	}
	_, err = config.Parse("f.yaml", nil)
	if err == nil || !strings.Contains(err.Error(), "server_name: must be given") {
		t.Errorf("an empty file: %v", err)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "15m": 15 * time.Minute, "24h": 24 * time.Hour, "7d": 168 * time.Hour, "0s": 0} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s is %v, %v", text, d, err)
		}
		var again config.Duration
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%s is written as %s and read as %v", text, d, again)
		}
	}
	for text, want := range map[string]int64{"512": 512, "64K": 65536, "50MB": 50 << 20, "1g": 1 << 30} {
		var z config.Size
		if err := z.UnmarshalText([]byte(text)); err != nil || int64(z) != want {
			t.Errorf("%s is %d, %v", text, z, err)
		}
	}
	for _, bad := range []string{"", "K", "1X", "-1", "99999999T", "1KK"} {
		var z config.Size
		if z.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("size %q was taken as %d", bad, z)
		}
	}
	var p config.Prefix
	if err := p.UnmarshalText([]byte("10.1.2.3/8")); err != nil || p.String() != "10.0.0.0/8" {
		t.Errorf("prefix %v, %v", p, err)
	}
	if err := p.UnmarshalText([]byte("::1")); err != nil || p.String() != "::1/128" {
		t.Errorf("address %v, %v", p, err)
	}
}
