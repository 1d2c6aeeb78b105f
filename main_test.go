package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a command line with some input.
func run(t *testing.T, stdin string, args ...string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	err = cmd.ExecuteContext(t.Context())
	return b.String(), err
}

func TestAddressBeyondThisMachineNeedsAConfiguration(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"127.0.0.1:8008": true, "localhost:8008": true, "[::1]:8008": true, "127.1.2.3:1": true,
		":8008": false, "0.0.0.0:8008": false, "[::]:8008": false, "192.0.2.1:8008": false, "example.org:8008": false, "8008": false,
	} {
		if err := refuseReachable(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	_, err := run(t, "", "serve", "--listen", "0.0.0.0:0", "--data", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "astrocyte serve --config FILE") {
		t.Errorf("the error is %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := settings{serverName: "example.org:8448", dataDir: "/d", listen: "127.0.0.1:1"}
	c, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	if c.ServerName != "example.org:8448" || c.DSN() != "sqlite:/d/astrocyte.db" || c.Listeners[0].Address != "127.0.0.1:1" || !c.Registration.Enabled || c.RateLimits.Enabled {
		t.Errorf("without a file: %+v", c)
	}
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte("server_name: example.com\nlisteners: [{address: \"0.0.0.0:80\"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = settings{file: file, database: "postgres://x"}
	if c, err = s.read(); err != nil {
		t.Fatal(err)
	}
	if c.ServerName != "example.com" || c.DSN() != "postgres://x" || c.Registration.Enabled || !c.RateLimits.Enabled {
		t.Errorf("with a file: %+v", c)
	}
	s = settings{serverName: "https://example.org"}
	if _, err = s.read(); err == nil {
		t.Error("a bad server name was taken")
	}
}

func TestConfigCommands(t *testing.T) {
	t.Parallel()
	sample, err := run(t, "", "sample-config")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "", "config", "check", "-c", file); err != nil || !strings.Contains(out, "is fine") {
		t.Errorf("the sample: %s %v", out, err)
	}
	if err := os.WriteFile(file, []byte("server_nam: a\nlog: {level: x}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "", "config", "check", "-c", file); err == nil || strings.Count(err.Error(), "line ") != 2 {
		t.Errorf("a bad file: %v", err)
	}
}

func TestUserAndTokenCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	on := func(stdin string, args ...string) (string, error) {
		return run(t, stdin, append(args, "--data", dir, "--server-name", "example.org")...)
	}
	for _, test := range []struct {
		stdin, args, want string
		fails             bool
	}{
		{"correct horse\n", "user create alice --admin", "@alice:example.org can log in now", false},
		{"correct horse", "user create alice", "taken", true},
		{"short", "user create bob", "at least", true},
		{"battery staple\n", "user create @bob:example.org", "@bob:example.org", false},
		{"", "user deactivate bob", "deactivated", false},
		{"battery staple\n", "user password alice", "new password", false},
		{"", "user list", "administrator", false},
		{"", "registration-token create welcome --uses 2 --lasts 48h", "welcome", false},
		{"", "registration-token create welcome", "already", true},
		{"", "registration-token list", "used 0 of 2 times", false},
	} {
		out, err := on(test.stdin, strings.Fields(test.args)...)
		if err != nil {
			out += err.Error()
		}
		if (err != nil) != test.fails || !strings.Contains(out, test.want) {
			t.Errorf("%s says %q, not %q", test.args, out, test.want)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if out, err := run(t, "", "version"); err != nil || !strings.HasPrefix(out, "astrocyte ") {
		t.Errorf("version says %q, %v", out, err)
	}
}
