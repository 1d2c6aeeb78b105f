package matrix

import (
	"testing"
	"unicode/utf8"
)

func FuzzServerName(f *testing.F) {
	for _, s := range []string{
		"example.org", "example.org:8448", "[2001:db8::1]:8448", "192.0.2.1", "[::1", "a:", ":1", "[::ffff:1.2.3.4]", "[fe80::1%0]", "é.org", "a:b:c", "]", "[]:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseServerName(s)
		if err != nil {
			if name != "" {
				t.Fatalf("%q was refused, but %q given", s, name)
			}
			return
		}
		host, port := name.Split()
		back := host
		if port != "" {
			back += ":" + port
		}
		if string(name) != s || back != s || host == "" {
			t.Fatalf("%q became %q, split into %q and %q", s, name, host, port)
		}
		if _, err := ParseServerName(host); err != nil {
			t.Fatalf("the host %q of %q is refused: %v", host, s, err)
		}
	})
}

// fuzzID checks that an accepted identifier is given as it came and that its parts make it up again.
func fuzzID[T ~string](f *testing.F, sigil string, parse func(string) (T, error), server func(T) ServerName) {
	for _, s := range []string{
		"a:b", "alice:example.org", "alice:[::1]:8448", ":b", "a:", "a", "", "ü:b", "\x00:b", "\xff:b", "a:b:c:d", "AAAA/BBBB_CCCC-",
	} {
		f.Add(sigil + s)
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parse(s)
		if err != nil {
			if id != "" {
				t.Fatalf("%q was refused, but %q given", s, id)
			}
			return
		}
		if string(id) != s || s[:1] != sigil || len(s) > MaxIDLength || !utf8.ValidString(s) {
			t.Fatalf("%q was accepted as %q", s, id)
		}
		if name := server(id); name != "" {
			if back := sigil + localpart(s) + ":" + string(name); back != s {
				t.Fatalf("the parts of %q make %q", s, back)
			}
		}
	})
}

func FuzzUserID(f *testing.F)    { fuzzID(f, "@", ParseUserID, UserID.Server) }
func FuzzRoomID(f *testing.F)    { fuzzID(f, "!", ParseRoomID, RoomID.Server) }
func FuzzRoomAlias(f *testing.F) { fuzzID(f, "#", ParseRoomAlias, RoomAlias.Server) }
func FuzzEventID(f *testing.F)   { fuzzID(f, "$", ParseEventID, EventID.Server) }

func FuzzLocalpart(f *testing.F) {
	for _, s := range []string{"alice", "", "Alice", "a/b", "a:b", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseLocalpart(s, "example.org")
		if err != nil {
			return
		}
		// Whoever may be made here must be one whom other servers take.
		if again, err := ParseUserID(string(id)); err != nil || again != id || id.Localpart() != s {
			t.Fatalf("%q made %q, which is refused: %v", s, id, err)
		}
	})
}
