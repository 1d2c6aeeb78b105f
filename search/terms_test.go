package search

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Hello": "hello", "ＡＢＣ１２３": "abc123", "ｶﾞｷﾞ": "ガギ", "Ärger": "arger", "STRASSE": "strasse", "Straße": "strasse",
		"Ёлка": "елка", "ΑΘΉΝΑΣ": "αθηνασ", "İstanbul ılık": "istanbul ilik", "がぎぐ": "がぎぐ", "한국": "한국", "हिन्दी": "हिन्दी",
		"مُحَمَّد": "محمد", "ﬁn": "fin", "❤️": "❤",
	} {
		if got := fold(in); got != want {
			t.Errorf("%q becomes %q, not %q", in, got, want)
		}
	}
}

func TestTerms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a":           "a",
		"to":          "to",
		"data":        "dat ata ta",
		"da da":       "da",
		"東京":          "東京 京",
		"東京tower3":    "東京 京 tow owe wer er3 r3",
		"한국어":         "한국 국어 어",
		"🚀🚀 x":        "🚀🚀 🚀 x",
		"!? -- «»":    "",
		"foo_bar-baz": "foo oo bar ar baz az",
	} {
		if got := strings.Join(termsOf(runsOf(in)), " "); got != want {
			t.Errorf("%q has the terms %q, not %q", in, got, want)
		}
	}
	if n := len(termsOf(runsOf(strings.Repeat("x", 1<<20)))); n > 10 {
		t.Errorf("a long line of one letter has %d terms", n)
	}
	if got := runsOf(strings.Repeat("語", 10000)); len(got) == 0 || len(got) > textMost/3/runMost+1 {
		t.Errorf("a long text has %d runs", len(got))
	}
}

func TestRank(t *testing.T) {
	t.Parallel()
	m := newMatcher("red apple")
	texts := []string{ // from the best
		"a red apple",
		"an apple that is red",
		"an apple that is red, and many other things besides which have nothing to do with it in the least",
		"redder pineapples",
	}
	ranks := make([]float64, len(texts))
	for i, text := range texts {
		ranks[i] = m.match(text)
	}
	if !slices.IsSortedFunc(ranks, func(a, b float64) int { return int(1e6 * (b - a)) }) || ranks[len(ranks)-1] <= 0 {
		t.Errorf("the ranks are %v", ranks)
	}
	for _, text := range []string{"", "red", "apple", "re dapple", "!!"} {
		if r := m.match(text); r != 0 {
			t.Errorf("%q fits: %v", text, r)
		}
	}
}

func TestHighlights(t *testing.T) {
	t.Parallel()
	m := newMatcher("cafe tok")
	if got := m.spelled(m.words(), "Im CAFÉ am Tōkyō-Platz, cafe"); !slices.Equal(got, []string{"cafe", "tok", "café", "tōkyō"}) {
		t.Errorf("highlighted %q", got)
	}
}

// FuzzTerms holds that the index proposes all that the matcher would accept, and that terms need no
// quoting on any engine.
func FuzzTerms(f *testing.F) {
	for _, s := range []string{"data", "東京tower", "L’été", "한국어 data 3", "a b", "مُحَمَّد", "🚀x"} {
		f.Add(s, s[:len(s)/2])
	}
	f.Fuzz(func(t *testing.T, text, part string) {
		if !utf8.ValidString(text) || !utf8.ValidString(part) {
			t.Skip()
		}
		terms := termsOf(runsOf(text))
		for _, term := range terms {
			for _, r := range term {
				if r < 0x80 && !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9') || r >= 0xE000 && r < 0xF900 {
					t.Fatalf("%q has the term %q", text, term)
				}
			}
		}
		for _, loose := range []bool{false, true} {
			m := newMatcher(part)
			if m.loose = loose; m.match(text) == 0 {
				continue
			}
			var q wanted
			q.ask(m)
			for _, term := range q.terms {
				if !slices.Contains(terms, term) {
					t.Fatalf("%q is in %q, whose terms %q have no %q", part, text, terms, term)
				}
			}
			for _, prefix := range q.prefixes {
				if !slices.ContainsFunc(terms, func(t string) bool { return strings.HasPrefix(t, prefix) }) {
					t.Fatalf("%q is in %q, of whose terms %q none begins with %q", part, text, terms, prefix)
				}
			}
		}
	})
}
