package search

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// A run is a piece of a word that is written in one way: either densely, one sign saying about as much as
// a syllable or a word does elsewhere (Chinese, Japanese, Korean, emoji), or in an alphabet.
type run struct {
	text  []rune
	dense bool
}

// The bounds of what is indexed of one text.
const (
	textMost = 16 << 10 // bytes; what follows is not found
	runMost  = 256      // signs: a longer run is cut, so that one line of base64 is not all there is
)

// fold gives a text the form in which texts are compared: without differences of case, of width, and of
// accents where the script is one in which people leave them out. Kana, Hangul and the signs of Indic
// scripts stay what they are.
func fold(s string) string {
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < 0x80
	}
	if ascii {
		return strings.ToLower(s)
	}
	s = cases.Fold().String(norm.NFKC.String(s))
	var b strings.Builder
	b.Grow(len(s))
	plain := false // the last letter is of a script whose marks are left out
	for _, r := range norm.NFD.String(s) {
		switch {
		case unicode.Is(unicode.Mn, r):
			if plain || isVariation(r) {
				continue
			}
		case r == 'ı':
			r, plain = 'i', true
		default:
			plain = unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Hebrew, unicode.Arabic)
		}
		b.WriteRune(r)
	}
	return norm.NFC.String(b.String())
}

func isVariation(r rune) bool { return r >= 0xFE00 && r <= 0xFE0F }

// runsOf cuts a text into its runs.
func runsOf(text string) []run {
	var all []run
	var now []rune
	var dense bool
	flush := func() {
		if len(now) > 0 {
			all = append(all, run{now, dense})
		}
		now = nil
	}
	for _, r := range fold(cut(text, textMost)) {
		if !isSign(r) {
			flush()
			continue
		}
		if d := isDense(r, dense && len(now) > 0); d != dense || len(now) == runMost {
			flush()
			dense = d
		}
		now = append(now, r)
	}
	flush()
	return all
}

// cut gives the beginning of a text, whole characters only.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// isSign says whether a character is part of words; the others stand between them.
func isSign(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) || unicode.Is(unicode.So, r)
}

// isDense says in which of the two ways a character is written. Marks belong to what they follow.
func isDense(r rune, before bool) bool {
	if r < 0x80 {
		return false
	}
	if unicode.IsMark(r) {
		return before
	}
	return r == 'ー' || unicode.Is(unicode.So, r) ||
		unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo)
}

// size is the number of signs in a term of the run: every two, or three, that follow each other are one.
func (r run) size() int {
	if r.dense {
		return 2
	}
	return 3
}

// terms calls add for the terms by which a text with the run is found. Near the end of the run they are
// shorter, so that whatever is part of it is the beginning of a term. A single letter of an alphabet is
// found only where it is a word.
func (r run) terms(add func(string)) {
	n := r.size()
	for i := range r.text {
		end := min(i+n, len(r.text))
		if end-i == 1 && !r.dense && i > 0 {
			return
		}
		add(string(r.text[i:end]))
	}
}

// wants calls the functions for the terms that a text must have which has the run as a part of it: with
// exactly for those that it has as they are, with prefix for those that begin one of its terms.
// loose is for a single letter that may also begin a word.
func (r run) wants(exactly, prefix func(string), loose bool) {
	n := r.size()
	switch {
	case len(r.text) >= n:
		for i := range len(r.text) - n + 1 {
			exactly(string(r.text[i : i+n]))
		}
	case len(r.text) == 1 && !r.dense && !loose:
		exactly(string(r.text))
	default:
		prefix(string(r.text))
	}
}

// termsOf are the terms by which a text is found, each once.
func termsOf(runs []run) []string {
	seen := make(map[string]bool)
	var all []string
	for _, r := range runs {
		r.terms(func(t string) {
			if !seen[t] {
				seen[t] = true
				all = append(all, t)
			}
		})
	}
	return all
}
