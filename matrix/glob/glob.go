// Package glob matches the patterns of push rules and server ACLs: * stands for any text, also none, and
// ? for exactly one character; case does not matter.
//
// Invariants:
//   - Matching takes time in proportion to the text (times the pattern's length in words of 64 characters),
//     whatever the pattern: all ways to match are followed at once, as bits, and none is tried again.
//   - A pattern is compiled once and may be used by any number of goroutines.
//   - Nothing in a pattern escapes, and there is no wrong pattern.
package glob

import (
	"slices"
	"unicode/utf8"
)

// Pattern is a compiled pattern.
type Pattern struct {
	// The characters of the pattern without its stars are its tokens. State k means that the first k of
	// them are matched. Bit k of match for a character says that token k is this character, bit k of
	// star that a star stands before token k, so that any character leaves state k as it is.
	tokens int
	words  int      // of 64 bits for tokens+1 states
	alpha  []rune   // the characters that occur in the pattern, folded, sorted
	match  []uint64 // words for each of alpha, and behind them those of any other character
	star   []uint64
	wild   bool   // there are stars or question marks
	text   string // the pattern as it was written
}

// Compile reads a pattern.
func Compile(pattern string) *Pattern { return compile(pattern, true) }

// Literal is a pattern that matches this text only, in any case: stars and question marks are themselves.
func Literal(text string) *Pattern { return compile(text, false) }

// anyOne is the token of a question mark.
const anyOne = -1

func compile(pattern string, wildcards bool) *Pattern {
	p := &Pattern{text: pattern}
	tokens := make([]rune, 0, len(pattern))
	var stars []int
	for _, r := range pattern {
		switch {
		case wildcards && r == '*':
			p.wild = true
			stars = append(stars, len(tokens))
		case wildcards && r == '?':
			p.wild = true
			tokens = append(tokens, anyOne)
		default:
			r = fold(r)
			tokens = append(tokens, r)
			p.alpha = append(p.alpha, r)
		}
	}
	slices.Sort(p.alpha)
	p.alpha = slices.Compact(p.alpha)
	p.tokens, p.words = len(tokens), len(tokens)/64+1
	p.star = make([]uint64, p.words)
	for _, k := range stars {
		set(p.star, k)
	}
	p.match = make([]uint64, (len(p.alpha)+1)*p.words)
	for k, r := range tokens {
		if r != anyOne {
			i, _ := slices.BinarySearch(p.alpha, r)
			set(p.row(i), k)
			continue
		}
		for i := range len(p.alpha) + 1 {
			set(p.row(i), k)
		}
	}
	return p
}

func set(states []uint64, k int) { states[k/64] |= 1 << (k % 64) }

// row is the tokens that match character i of the alphabet.
func (p *Pattern) row(i int) []uint64 { return p.match[i*p.words : (i+1)*p.words] }

// tokensFor is the tokens that match a folded character.
func (p *Pattern) tokensFor(r rune) []uint64 {
	if i, found := slices.BinarySearch(p.alpha, r); found {
		return p.row(i)
	}
	return p.row(len(p.alpha))
}

// String is the pattern as it was written.
func (p *Pattern) String() string { return p.text }

// Match says whether the pattern matches the whole text.
func (p *Pattern) Match(text string) bool {
	if !p.wild {
		return equalFold(p.text, text)
	}
	if p.tokens == 0 {
		return true // only stars
	}
	var space [4]uint64
	states := p.states(space[:0])
	states[0] = 1
	for _, r := range text {
		if !p.step(states, fold(r)) {
			return false
		}
	}
	return p.done(states)
}

// MatchWords says whether the pattern matches a part of the text that begins and ends at the border of a
// word, so that it is not found within a word. The ends of the text are borders.
func (p *Pattern) MatchWords(text string) bool {
	var space [4]uint64
	states := p.states(space[:0])
	inWord := false // whether the character before is one of a word
	for i, r := range text {
		isWord := wordRune(r)
		if i == 0 || !inWord || !isWord {
			if states[0] |= 1; p.done(states) {
				return true
			}
		}
		p.step(states, fold(r))
		inWord = isWord
	}
	states[0] |= 1
	return p.done(states)
}

// states is the empty set of states, in the given space if that is large enough.
func (p *Pattern) states(space []uint64) []uint64 {
	return slices.Grow(space, p.words)[:p.words]
}

// step moves all states over one character. It gives false when none is left.
func (p *Pattern) step(states []uint64, r rune) bool {
	tokens := p.tokensFor(r)
	if p.words == 1 {
		states[0] = (states[0]&tokens[0])<<1 | states[0]&p.star[0]
		return states[0] != 0
	}
	carry, left := uint64(0), uint64(0)
	for i, s := range states {
		moved := s & tokens[i]
		states[i] = moved<<1 | carry | s&p.star[i]
		carry = moved >> 63
		left |= states[i]
	}
	return left != 0
}

// done says that all tokens are matched.
func (p *Pattern) done(states []uint64) bool {
	return states[p.tokens/64]&(1<<(p.tokens%64)) != 0
}

// equalFold compares two texts without case.
func equalFold(a, b string) bool {
	if a == b {
		return true
	}
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb && fold(ra) != fold(rb) {
			return false
		}
		a, b = a[na:], b[nb:]
	}
	return a == b
}
