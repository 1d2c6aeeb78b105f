package search

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// matcher decides whether a text has what was searched for: every run of the search, as a part of one of
// the text's. The index finds texts that have all terms of it, in any places; this one looks at the text.
type matcher struct {
	runs  []run
	loose bool // a single letter may also begin a word: for what is asked while people type
}

// The weights of a run of the search by where it was found: it is a word, begins one, or is inside of one.
const (
	weightWord   = 1.0
	weightPrefix = 0.75
	weightInside = 0.5
	weightPhrase = 0.5 // more, for all runs one after the other
)

// wantedMost bounds the runs of a search that are looked for.
const wantedMost = 20

func newMatcher(text string) *matcher {
	runs := runsOf(text)
	return &matcher{runs: runs[:min(len(runs), wantedMost)]}
}

// match tells how well a text fits; 0: not at all.
func (m *matcher) match(text string) float64 {
	if len(m.runs) == 0 {
		return 0
	}
	runs := runsOf(text)
	sum := 0.0
	for _, want := range m.runs {
		best, n := 0.0, 0
		for _, have := range runs {
			if w := m.has(have, want); w > 0 {
				best, n = max(best, w), n+1
			}
		}
		if n == 0 {
			return 0
		}
		sum += best * (1 + math.Log(float64(n))/5)
	}
	rank := sum / float64(len(m.runs))
	if len(m.runs) > 1 && m.isPhrase(runs) {
		rank += weightPhrase
	}
	return rank / (1 + math.Log(1+float64(len(runs))/8)/6) // a short text is about it
}

// has says how a run is part of another one; 0: it is not.
func (m *matcher) has(r, want run) float64 {
	if r.dense != want.dense || len(want.text) > len(r.text) {
		return 0
	}
	i := indexRunes(r.text, want.text)
	switch {
	case i < 0, !r.dense && len(want.text) == 1 && len(r.text) > 1 && !(m.loose && i == 0):
		return 0
	case r.dense || len(r.text) == len(want.text):
		return weightWord
	case i == 0:
		return weightPrefix
	}
	return weightInside
}

// isPhrase says whether all that is wanted stands one after the other.
func (m *matcher) isPhrase(runs []run) bool {
	for i := range len(runs) - len(m.runs) + 1 {
		all := true
		for j, want := range m.runs {
			have := runs[i+j]
			all = all && m.has(have, want) > 0 &&
				(j == 0 || slices.Equal(have.text[:len(want.text)], want.text)) &&
				(j == len(m.runs)-1 || slices.Equal(have.text[len(have.text)-len(want.text):], want.text))
		}
		if all {
			return true
		}
	}
	return false
}

func indexRunes(s, part []rune) int {
	for i := range len(s) - len(part) + 1 {
		if slices.Equal(s[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// highlightsMost bounds the words of one answer that are to be highlighted.
const highlightsMost = 100

// words are what was searched for as words to highlight.
func (m *matcher) words() []string {
	var all []string
	for _, r := range m.runs {
		if w := string(r.text); !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return all
}

// spelled adds the words of a text in which something was found, where they are spelled so that a client
// would not find them by what was searched for.
func (m *matcher) spelled(words []string, text string) []string {
	for _, word := range strings.FieldsFunc(cut(text, textMost), func(r rune) bool { return !isSign(r) }) {
		if len(words) >= highlightsMost {
			return words
		}
		low := strings.Map(unicode.ToLower, word)
		if low == fold(word) || slices.Contains(words, low) {
			continue
		}
		for _, have := range runsOf(word) {
			if slices.ContainsFunc(m.runs, func(want run) bool { return m.has(have, want) > 0 }) {
				words = append(words, low)
				break
			}
		}
	}
	return words
}
