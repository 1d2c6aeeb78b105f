package canonicaljson

import (
	"bytes"
	"math"
	"strconv"
)

// number reads a number. Minus zero is zero.
func (s *scanner) number() error {
	start := s.pos
	i := start
	if s.in[i] == '-' {
		i++
	}
	first := i
	i = digits(s.in, i)
	switch {
	case i == first:
		return s.fail("a digit is missing")
	case s.in[first] == '0' && i > first+1:
		return s.fail("a number begins with 0")
	}
	if i < len(s.in) && (s.in[i] == '.' || s.in[i] == 'e' || s.in[i] == 'E') {
		return s.float(i)
	}
	if s.mode == Strict && !withinInt(s.in[first:i]) {
		return s.fail("an integer beyond 2^53-1")
	}
	if s.in[first] == '0' {
		start = first
	}
	s.out = append(s.out, s.in[start:i]...)
	s.pos = i
	return nil
}

func digits(in []byte, i int) int {
	for i < len(in) && in[i] >= '0' && in[i] <= '9' {
		i++
	}
	return i
}

// withinInt says whether digits that do not begin with 0 are at most MaxInt.
func withinInt(digits []byte) bool {
	const most = "9007199254740991"
	return len(digits) < len(most) || len(digits) == len(most) && bytes.Compare(digits, []byte(most)) <= 0
}

// float reads a number of which the part to i is its integer part.
func (s *scanner) float(i int) error {
	if s.mode == Strict {
		return s.fail("a number that is not an integer")
	}
	if s.in[i] == '.' {
		from := i + 1
		if i = digits(s.in, from); i == from {
			return s.fail("a digit is missing")
		}
	}
	if i < len(s.in) && (s.in[i] == 'e' || s.in[i] == 'E') {
		i++
		if i < len(s.in) && (s.in[i] == '+' || s.in[i] == '-') {
			i++
		}
		from := i
		if i = digits(s.in, from); i == from {
			return s.fail("a digit is missing")
		}
	}
	f, err := strconv.ParseFloat(string(s.in[s.pos:i]), 64)
	if err != nil || math.IsInf(f, 0) {
		return s.fail("a number too large")
	}
	s.out = appendFloat(s.out, f)
	s.pos = i
	return nil
}

// appendFloat writes the shortest digits that read back as f: with an exponent below 1e-4 and from 1e16,
// and else with a point. So do the servers that made the rooms of versions 1 to 5.
func appendFloat(dst []byte, f float64) []byte {
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[from:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}
