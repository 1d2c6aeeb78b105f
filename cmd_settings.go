package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/spf13/pflag"

	"astrocyte/config"
	"astrocyte/matrix"
)

// settings are the flags that say which server a command is about.
type settings struct {
	file, listen, dataDir, serverName, database string
}

// flags adds the flags of every command that works on a server.
func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVarP(&s.file, "config", "c", "", "the configuration file")
	f.StringVar(&s.dataDir, "data", "", "the data folder (default ./data)")
	f.StringVar(&s.serverName, "server-name", "", "the server's name (default localhost)")
	f.StringVar(&s.database, "database", "", "sqlite:FILE or postgres://… (default astrocyte.db in the data folder)")
}

// read makes the settings from the file and the flags, which go before it. Without a file it is a server
// for trying out, which only this machine can reach: registration is open, and nothing is limited.
func (s *settings) read() (*config.Config, error) {
	c, err := s.base()
	if err != nil {
		return nil, err
	}
	if s.listen != "" {
		c.Listeners = []config.Listener{{Address: s.listen}}
	}
	if s.dataDir != "" {
		c.DataDir = s.dataDir
	}
	if s.database != "" {
		c.Database = s.database
	}
	if s.serverName != "" {
		if c.ServerName, err = matrix.ParseServerName(s.serverName); err != nil {
			return nil, fmt.Errorf("--server-name: %q is not a server name", s.serverName)
		}
	}
	if s.file == "" {
		return c, refuseReachable(c.Listeners[0].Address)
	}
	return c, nil
}

func (s *settings) base() (*config.Config, error) {
	if s.file != "" {
		return config.Load(s.file)
	}
	c := config.Default()
	c.ServerName = "localhost"
	c.Registration.Enabled = true
	c.RateLimits.Enabled = false
	return c, nil
}

// refuseReachable refuses to open a server to others that has no configuration.
func refuseReachable(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen: %q is not an address such as 127.0.0.1:8008", address)
	}
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf(`other machines could reach %s, where anybody could register: without a configuration file
registration is open and nothing is limited. Listen at 127.0.0.1, or write a configuration file:

  server_name: example.org
  listeners:
    - address: %s

and start with "astrocyte serve --config FILE". "astrocyte sample-config" shows all settings`, address, address)
}
