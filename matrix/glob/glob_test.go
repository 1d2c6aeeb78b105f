package glob

import (
	"regexp"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"**", "anything\nat all", true},
		{"?", "", false},
		{"?", "ä", true},
		{"?", "ab", false},
		{"a?c", "aBc", true},
		{"a*c", "ac", true},
		{"a*c", "abcbc", true},
		{"a*c", "abcb", false},
		{"*.example.com", "a.EXAMPLE.com", true},
		{"*.example.com", "example.com", false},
		{"*?a", "a", false},
		{"*?a", "ba", true},
		{"?*", "", false},
		{"a**b", "a-b", true},
		{"[a-z]", "b", false},
		{"[a-z]", "[A-Z]", true},
		{`\*`, `\anything`, true},
		{"straße", "STRAẞE", true},
		{"K", "\u212a", true}, // the Kelvin sign
		{strings.Repeat("a?", 100) + "*z", strings.Repeat("ab", 100) + "--z", true},
		{strings.Repeat("a?", 100) + "*z", strings.Repeat("ab", 99) + "--z", false},
		{strings.Repeat("x", 63) + "*", strings.Repeat("x", 63), true},
		{strings.Repeat("x", 64) + "*", strings.Repeat("x", 64), true},
		{strings.Repeat("x", 65) + "*", strings.Repeat("x", 64), false},
	} {
		if got := Compile(c.pattern).Match(c.text); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

func TestMatchWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"alice", "hello ALICE!", true},
		{"alice", "malice", false},
		{"alice", "alices", false},
		{"alice", "malice and alice", true},
		{"al?ce", "(Alyce)", true},
		{"a*e", "the apple", true},
		{"foo bar", "a foo bar b", true},
		{"foo bar", "a foo barb", false},
		{"кот", "который", false},
		{"кот", "чёрный кот.", true},
		{"@room", "hello @room", true},
		{"@room", "@room_", false},
		{"cake", "cake", true},
		{"", "", true},
	} {
		if got := Compile(c.pattern).MatchWords(c.text); got != c.want {
			t.Errorf("%q among the words of %q: %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

func TestLiteral(t *testing.T) {
	t.Parallel()
	if p := Literal("*?"); p.Match("ab") || !p.Match("*?") || p.MatchWords("some text") || !p.MatchWords("so, *? it is") {
		t.Error("the wildcards of a literal are no wildcards")
	}
}

// TestMatchIsLinear would not end in this century if the ways to match were tried one by one.
func TestMatchIsLinear(t *testing.T) {
	t.Parallel()
	p := Compile(strings.Repeat("*a", 60) + "*b")
	if text := strings.Repeat("a", 60_000); p.Match(text) || p.MatchWords(text) {
		t.Error("there is no b")
	}
}

// FuzzMatch compares with regular expressions.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("*?*", "")
	f.Add("é*K", "É\u212a")
	f.Add(strings.Repeat("ab?", 30)+"*", strings.Repeat("abc", 31))
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 300 || len(text) > 1000 || strings.ToValidUTF8(pattern, "") != pattern || strings.ToValidUTF8(text, "") != text {
			return
		}
		expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		whole, err := regexp.Compile(`(?is)\A` + expression + `\z`)
		if err != nil {
			return
		}
		p := Compile(pattern)
		if got, want := p.Match(text), whole.MatchString(text); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, text, got, want)
		}
		if p.Match(text) && !p.MatchWords(text) {
			t.Errorf("%q matches %q as a whole, and not by words", pattern, text)
		}
	})
}

func BenchmarkMatchWords(b *testing.B) {
	p, text := Compile("alice"), strings.Repeat("lorem ipsum dolor sit amet ", 20)
	b.ReportAllocs()
	for b.Loop() {
		if p.MatchWords(text) {
			b.Fatal("she is not there")
		}
	}
}
