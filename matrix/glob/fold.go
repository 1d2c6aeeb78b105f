package glob

import (
	"unicode"
	"unicode/utf8"
)

// fold gives one character for all that differ in case alone: simple folding, by which no character
// becomes two. Of ASCII letters that is the small one.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if least >= 'A' && least <= 'Z' {
		return least + 'a' - 'A'
	}
	return least
}

// wordRune says whether a character is part of words: letters and their marks, digits and connecting
// punctuation of all scripts, so that a name is not found within a longer one in any of them.
//
// Spec: CS "Push rules" names A-Z, a-z, 0-9 and _ only, which cuts every word of other scripts to pieces.
func wordRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
