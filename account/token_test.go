package account

import (
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	t.Parallel()
	for shard := range int64(256) {
		token, key := newToken(accessPrefix, shard)
		got, ok := parseToken(accessPrefix, token)
		if !ok || got != key || got.shard != shard {
			t.Fatalf("%s of shard %d is read as %+v, %t", token, shard, got, ok)
		}
		if _, ok := parseToken(refreshPrefix, token); ok {
			t.Fatal("an access token is taken for a refresh token")
		}
		if _, ok := parseToken(refreshPrefix, refreshPrefix+strings.TrimPrefix(token, accessPrefix)); ok {
			t.Fatal("the checksum does not count the prefix")
		}
	}
}

func TestBrokenTokens(t *testing.T) {
	t.Parallel()
	token, _ := newToken(accessPrefix, 7)
	broken := []string{"", "x", accessPrefix, token[1:], token + "=", token + "A", token[:len(token)-1], strings.ToUpper(token), token + "\n"}
	for i := len(accessPrefix); i < len(token); i++ {
		other := byte('A')
		if token[i] == 'A' {
			other = 'B'
		}
		broken = append(broken, token[:i]+string(other)+token[i+1:])
	}
	for _, b := range broken {
		if _, ok := parseToken(accessPrefix, b); ok {
			t.Errorf("%q was taken for a token; the right one is %q", b, token)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	token, _ := newToken(accessPrefix, 255)
	f.Add(token)
	f.Add(accessPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		if key, ok := parseToken(accessPrefix, s); ok && (key.shard < 0 || key.shard > 255) {
			t.Errorf("%q is of shard %d", s, key.shard)
		}
	})
}

func TestRandomText(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	counts := map[byte]int{}
	for range 2000 {
		s := randomText(upperAlphabet, 10)
		if len(s) != 10 || seen[s] {
			t.Fatalf("%q is short, or came twice", s)
		}
		seen[s] = true
		for i := range len(s) {
			counts[s[i]]++
		}
	}
	if len(counts) != len(upperAlphabet) {
		t.Errorf("%d characters of %d were used", len(counts), len(upperAlphabet))
	}
}
