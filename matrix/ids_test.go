package matrix

import (
	"errors"
	"strings"
	"testing"
)

// idCase is a text and whether it is an identifier.
type idCase struct {
	name string
	text string
	ok   bool
}

func checkIDs(t *testing.T, cases []idCase, parse func(string) (string, error)) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := parse(c.text)
			if (err == nil) != c.ok {
				t.Fatalf("%q: %v, wanted ok=%v", c.text, err, c.ok)
			}
			if err == nil && got != c.text {
				t.Fatalf("%q became %q", c.text, got)
			}
			var fault *Error
			if err != nil && (!errors.As(err, &fault) || got != "") {
				t.Fatalf("%q: gave %q and %v, which is no fault of the caller", c.text, got, err)
			}
		})
	}
}

func parser[T ~string](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		id, err := parse(s)
		return string(id), err
	}
}

func TestParseServerName(t *testing.T) {
	t.Parallel()
	checkIDs(t, []idCase{
		{"a domain", "example.org", true},
		{"a domain and a port", "example.org:8448", true},
		{"one label", "localhost", true},
		{"upper case", "Example.ORG", true},
		{"an IPv4 address", "192.0.2.1", true},
		{"an IPv4 address and a port", "192.0.2.1:80", true},
		{"an IPv6 address", "[2001:db8::1]", true},
		{"an IPv6 address and a port", "[2001:db8::1]:8448", true},
		{"an IPv4 address in an IPv6 one", "[::ffff:192.0.2.1]", true},
		{"the longest name", strings.Repeat("a", 230), true},
		{"a dot at the end", "example.org.", true},
		{"nothing", "", false},
		{"too long", strings.Repeat("a", 231), false},
		{"a port alone", ":8448", false},
		{"an empty port", "example.org:", false},
		{"a port that is no number", "example.org:http", false},
		{"a port beyond 65535", "example.org:65536", false},
		{"a port of six digits", "example.org:000080", false},
		{"a negative port", "example.org:-1", false},
		{"two ports", "example.org:1:2", false},
		{"an IPv6 address without brackets", "2001:db8::1", false},
		{"an IPv4 address in brackets", "[192.0.2.1]", false},
		{"an IPv6 address with a zone", "[fe80::1%eth0]", false},
		{"brackets that do not close", "[2001:db8::1", false},
		{"something behind the brackets", "[2001:db8::1]x", false},
		{"an underscore", "my_host.example", false},
		{"a slash", "example.org/path", false},
		{"a user", "user@example.org", false},
		{"a space", "example .org", false},
		{"a NUL", "example.org\x00", false},
		{"not ASCII", "exämple.org", false},
		{"a full-width dot", "example．org", false},
	}, parser(ParseServerName))
}

func TestParseUserID(t *testing.T) {
	t.Parallel()
	checkIDs(t, []idCase{
		{"plain", "@alice:example.org", true},
		{"with a port", "@alice:example.org:8448", true},
		{"on an IPv6 address", "@alice:[2001:db8::1]:8448", true},
		{"upper case, of older servers", "@Alice:example.org", true},
		{"spaces and signs, of older servers", "@al ice!#:example.org", true},
		{"not ASCII, of older servers", "@ålice:example.org", true},
		{"255 bytes", "@" + strings.Repeat("a", 255-len("@:example.org")) + ":example.org", true},
		{"256 bytes", "@" + strings.Repeat("a", 256-len("@:example.org")) + ":example.org", false},
		{"255 characters of more bytes", "@" + strings.Repeat("å", 242) + ":example.org", false},
		{"nothing", "", false},
		{"the sigil alone", "@", false},
		{"no sigil", "alice:example.org", false},
		{"another sigil", "#alice:example.org", false},
		{"no server", "@alice", false},
		{"an empty server", "@alice:", false},
		{"an empty localpart", "@:example.org", false},
		{"a bad server", "@alice:exa mple", false},
		{"a NUL", "@al\x00ice:example.org", false},
		{"not UTF-8", "@al\xffice:example.org", false},
	}, parser(ParseUserID))
}

func TestParseLocalpart(t *testing.T) {
	t.Parallel()
	checkIDs(t, []idCase{
		{"plain", "alice", true},
		{"all that is allowed", "az09._=-/+", true},
		{"the longest", strings.Repeat("a", 255-len("@:example.org")), true},
		{"too long", strings.Repeat("a", 256-len("@:example.org")), false},
		{"nothing", "", false},
		{"upper case", "Alice", false},
		{"a space", "al ice", false},
		{"a colon", "al:ice", false},
		{"not ASCII", "ålice", false},
		{"a NUL", "al\x00ice", false},
	}, func(s string) (string, error) {
		u, err := ParseLocalpart(s, "example.org")
		return u.Localpart(), err
	})
}

func TestParseRoomID(t *testing.T) {
	t.Parallel()
	checkIDs(t, []idCase{
		{"with a server", "!opaque:example.org", true},
		{"of version 12", "!" + strings.Repeat("A", 43), true},
		{"signs in the opaque part", "!o p/q?:example.org", true},
		{"255 bytes", "!" + strings.Repeat("a", 254), true},
		{"256 bytes", "!" + strings.Repeat("a", 255), false},
		{"nothing", "", false},
		{"the sigil alone", "!", false},
		{"no sigil", "opaque:example.org", false},
		{"an alias", "#opaque:example.org", false},
		{"a bad server", "!opaque:exa mple", false},
		{"an empty server", "!opaque:", false},
		{"a NUL", "!opa\x00que", false},
		{"not UTF-8", "!opa\xffque", false},
	}, parser(ParseRoomID))
}

func TestParseRoomAlias(t *testing.T) {
	t.Parallel()
	checkIDs(t, []idCase{
		{"plain", "#room:example.org", true},
		{"not ASCII", "#räume:example.org", true},
		{"with a port", "#room:example.org:8448", true},
		{"255 bytes", "#" + strings.Repeat("a", 255-len("#:example.org")) + ":example.org", true},
		{"256 bytes", "#" + strings.Repeat("a", 256-len("#:example.org")) + ":example.org", false},
		{"an empty localpart", "#:example.org", false},
		{"no server", "#room", false},
		{"a room ID", "!room:example.org", false},
		{"a NUL", "#ro\x00om:example.org", false},
	}, parser(ParseRoomAlias))
}

func TestParseEventID(t *testing.T) {
	t.Parallel()
	checkIDs(t, []idCase{
		{"of versions 1 and 2", "$opaque:example.org", true},
		{"of version 3", "$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", true},
		{"of version 4", "$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", true},
		{"255 bytes", "$" + strings.Repeat("a", 254), true},
		{"256 bytes", "$" + strings.Repeat("a", 255), false},
		{"nothing", "", false},
		{"the sigil alone", "$", false},
		{"no sigil", "opaque", false},
		{"a NUL", "$a\x00", false},
		{"not UTF-8", "$a\xff", false},
	}, parser(ParseEventID))
}

func TestPartsOfIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, got, want string }{
		{"localpart of a user", UserID("@alice:example.org:8448").Localpart(), "alice"},
		{"server of a user", string(UserID("@alice:example.org:8448").Server()), "example.org:8448"},
		{"server of a user on IPv6", string(UserID("@alice:[::1]:8448").Server()), "[::1]:8448"},
		{"server of a room", string(RoomID("!a:example.org").Server()), "example.org"},
		{"server of a room of version 12", string(RoomID("!a").Server()), ""},
		{"localpart of an alias", RoomAlias("#a:example.org").Localpart(), "a"},
		{"server of an event", string(EventID("$a:example.org").Server()), "example.org"},
		{"server of an event of version 3", string(EventID("$a").Server()), ""},
		{"localpart of nothing", UserID("").Localpart(), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, wanted %q", c.name, c.got, c.want)
		}
	}
}

func TestSplitServerName(t *testing.T) {
	t.Parallel()
	for name, want := range map[ServerName][2]string{
		"example.org":      {"example.org", ""},
		"example.org:8448": {"example.org", "8448"},
		"[::1]":            {"[::1]", ""},
		"[::1]:8448":       {"[::1]", "8448"},
		"192.0.2.1:80":     {"192.0.2.1", "80"},
	} {
		if host, port := name.Split(); host != want[0] || port != want[1] {
			t.Errorf("%s: %q %q, wanted %q", name, host, port, want)
		}
	}
}

func TestShardOfUser(t *testing.T) {
	t.Parallel()
	seen := map[int64]bool{}
	for i := range 4000 {
		s := UserID("@user" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + ":example.org").Shard()
		if s < 0 || s > 255 {
			t.Fatalf("shard %d", s)
		}
		seen[s] = true
	}
	if len(seen) < 250 {
		t.Errorf("only %d of 256 shards are used", len(seen))
	}
	// The shard is stored: another function would lose all rows.
	if s := UserID("@alice:example.org").Shard(); s != shardOfAlice {
		t.Errorf("the shard of @alice:example.org is %d, and was %d", s, shardOfAlice)
	}
}

const shardOfAlice = 197
