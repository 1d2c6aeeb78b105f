package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// check looks for settings that cannot work. It tells all that it finds.
func (c *Config) check(r *reader) {
	if c.ServerName == "" {
		r.fault("server_name", "must be given")
	} else if _, err := matrix.ParseServerName(string(c.ServerName)); err != nil {
		r.fault("server_name", "%q is not a server name; write example.org, without https://", c.ServerName)
	}
	if c.Database != "" && !strings.HasPrefix(c.Database, "sqlite:") && !isPostgres(c.Database) {
		r.fault("database", `must begin with "sqlite:" or "postgres://"`)
	}
	if c.PublicURL != "" && !isBaseURL(c.PublicURL) {
		r.fault("public_url", "%q is not an address such as https://matrix.example.org", c.PublicURL)
	}
	if c.CacheMemory < 8<<20 {
		r.fault("cache_memory", "must be 8M at least")
	}
	if c.Clients.LargeRoom < 0 {
		r.fault("clients.large_room", "cannot be negative")
	}
	if n := c.Presence.MaxRoomMembers; n < 1 || n > 10_000 {
		r.fault("presence.max_room_members", "must be between 1 and 10000")
	}
	if _, ok := rules.ByID(c.Rooms.DefaultVersion); !ok {
		r.fault("rooms.default_version", "%q is not a room version that this server knows", c.Rooms.DefaultVersion)
	}
	if n := c.DelayedEvents.MaxScheduled; n < 0 || n > 10_000 {
		r.fault("delayed_events.max_scheduled", "must be between 0 and 10000")
	}
	if c.DelayedEvents.MaxDelay < Duration(time.Minute) {
		r.fault("delayed_events.max_delay", "must be 1m at least")
	}
	if t := c.Calls.TURN; len(t.URIs) > 0 && t.SharedSecret == "" {
		r.fault("calls.turn.shared_secret", "must be given, since calls.turn.uris is")
	}
	for _, url := range c.Calls.LiveKit {
		if !isBaseURL(url) {
			r.fault("calls.livekit", "%q is not an address such as https://matrix-rtc.example.org", url)
		}
	}
	oneOf(r, "users.directory", c.Users.Directory, "shared", "all")
	c.Support.check(r)
	c.checkListeners(r)
	c.Federation.check(r)
	c.Registration.check(r)
	c.Passwords.check(r)
	c.Media.check(r)
	c.Notices.check(r, c.ServerName)
	c.RateLimits.check(r)
	if c.Clients.MaxBody < 128<<10 {
		r.fault("clients.max_body", "must be 128K at least: an event may have 64K")
	}
	oneOf(r, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(r, "log.format", c.Log.Format, "auto", "text", "json")
	if c.Metrics.Address != "" {
		checkAddress(r, "metrics.address", c.Metrics.Address)
	}
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

func isBaseURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.RawQuery == ""
}

func oneOf(r *reader, key, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	last := len(allowed) - 1
	r.fault(key, "must be %s or %s, not %q", strings.Join(allowed[:last], ", "), allowed[last], value)
}

func (c *Config) checkListeners(r *reader) {
	if len(c.Listeners) == 0 {
		r.fault("listeners", "must have one at least")
	}
	for i, l := range c.Listeners {
		key := fmt.Sprintf("listeners[%d]", i)
		checkAddress(r, key+".address", l.Address)
		if (l.TLS.Certificate == "") != (l.TLS.Key == "") {
			r.fault(key+".tls", "needs both certificate and key")
		}
	}
}

func checkAddress(r *reader, key, address string) {
	_, port, err := net.SplitHostPort(address)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		r.fault(key, "%q is not an address such as 127.0.0.1:8008", address)
	}
}

func (f *Federation) check(r *reader) {
	isName := func(key string, name matrix.ServerName) {
		if _, err := matrix.ParseServerName(string(name)); err != nil {
			r.fault(key, "%q is not a server name such as matrix.example.org:443", name)
		}
	}
	if f.WellKnown != "" {
		isName("federation.well_known", f.WellKnown)
	}
	for _, notary := range f.KeyNotaries {
		isName("federation.key_notaries", notary)
	}
	for i, k := range f.OldKeys {
		key := fmt.Sprintf("federation.old_keys[%d]", i)
		if !strings.HasPrefix(string(k.ID), "ed25519:") {
			r.fault(key+".id", "%q is not a key ID such as ed25519:a_abcd", k.ID)
		}
		if public, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(k.Public, "=")); err != nil || len(public) != ed25519.PublicKeySize {
			r.fault(key+".public", "must be a public key in base64")
		}
		if k.Expired <= 0 {
			r.fault(key+".expired", "must be a time in milliseconds")
		}
	}
}

func (s *Support) check(r *reader) {
	if s.Page != "" && !isBaseURL(s.Page) {
		r.fault("support.page", "%q is not an address such as https://example.org/help", s.Page)
	}
	for i, c := range s.Contacts {
		key := fmt.Sprintf("support.contacts[%d]", i)
		oneOf(r, key+".role", c.Role, "admin", "security")
		if c.MatrixID == "" && c.Email == "" {
			r.fault(key, "needs a matrix_id or an email")
		}
		if _, err := matrix.ParseUserID(string(c.MatrixID)); c.MatrixID != "" && err != nil {
			r.fault(key+".matrix_id", "%q is not a user ID such as @alice:example.org", c.MatrixID)
		}
		if _, err := mail.ParseAddress(c.Email); c.Email != "" && err != nil {
			r.fault(key+".email", "%q is not an e-mail address", c.Email)
		}
	}
}

func (g *Registration) check(r *reader) {
	if g.SharedSecret != "" && len(g.SharedSecret) < 8 {
		r.fault("registration.shared_secret", "must have 8 characters at least")
	}
}

func (n *Notices) check(r *reader, server matrix.ServerName) {
	if _, err := matrix.ParseLocalpart(n.Localpart, server); err != nil {
		r.fault("notices.localpart", "%q is not the first part of a user ID", n.Localpart)
	}
	if n.DisplayName == "" || utf8.RuneCountInString(n.DisplayName) > 256 {
		r.fault("notices.display_name", "must have 1 to 256 characters")
	}
	if n.AvatarURL != "" && (!strings.HasPrefix(n.AvatarURL, "mxc://") || len(n.AvatarURL) > 1000) {
		r.fault("notices.avatar_url", "must be an mxc:// address")
	}
	if len(n.RoomName) > 255 {
		r.fault("notices.room_name", "cannot be longer than 255 bytes")
	}
}

func (p *Passwords) check(r *reader) {
	oneOf(r, "passwords.hash", p.Hash, "argon2id", "bcrypt")
	between := func(key string, n, low, high int) {
		if n < low || n > high {
			r.fault("passwords."+key, "must be between %d and %d", low, high)
		}
	}
	between("minimum_length", p.MinimumLength, 1, 128)
	between("argon2_memory", p.Argon2Memory, 8, 4<<20)
	between("argon2_passes", p.Argon2Passes, 1, 100)
	between("argon2_threads", p.Argon2Threads, 1, 64)
	between("bcrypt_cost", p.BcryptCost, 4, 20)
}

func (l *RateLimits) check(r *reader) {
	sound := func(key string, rate Rate) {
		switch {
		case rate.PerSecond < 0 || rate.PerSecond > 1e6:
			r.fault(key+".per_second", "must be between 0 and 1000000")
		case rate.PerSecond > 0 && (rate.Burst < 1 || rate.Burst > 1e6):
			r.fault(key+".burst", "must be between 1 and 1000000")
		}
	}
	for name, class := range l.Classes() {
		sound("rate_limits."+name+".account", class.Account)
		sound("rate_limits."+name+".address", class.Address)
	}
	for name, rate := range l.Servers.Classes() {
		sound("rate_limits.servers."+name, rate)
	}
	for i, u := range l.Users {
		key := fmt.Sprintf("rate_limits.users[%d]", i)
		if _, err := matrix.ParseUserID(string(u.User)); err != nil {
			r.fault(key+".user", "%q is not a user ID such as @alice:example.org", u.User)
		}
		if u.Factor < 0 || u.Factor > 1e6 {
			r.fault(key+".factor", "must be between 0 and 1000000")
		}
	}
}

// Classes gives the limits by their names.
func (s ServerLimits) Classes() map[string]Rate {
	return map[string]Rate{"requests": s.Requests, "handshakes": s.Handshakes, "rooms": s.Rooms, "transactions": s.Transactions}
}

// Classes gives the limits by the names of their classes.
func (l *RateLimits) Classes() map[string]LimitClass {
	classes := map[string]LimitClass{}
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		if class, is := v.Field(i).Interface().(LimitClass); is {
			classes[v.Type().Field(i).Tag.Get("yaml")] = class
		}
	}
	return classes
}
