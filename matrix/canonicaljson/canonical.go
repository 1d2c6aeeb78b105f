package canonicaljson

import (
	"bytes"
	"encoding/json"
	"math"
)

// Canonical checks one JSON value and appends its canonical form to dst.
func Canonical(dst, in []byte, m Mode) ([]byte, error) {
	return CanonicalIn(dst, in, m, 0)
}

// CanonicalIn is Canonical for a value that will stand within outer containers of another one.
func CanonicalIn(dst, in []byte, m Mode, outer int) ([]byte, error) {
	s := scanner{in: in, out: dst, mode: m, depth: outer}
	if err := s.whole(); err != nil {
		return dst, err
	}
	if s.unsorted {
		return sortMembers(s.out, len(dst))
	}
	return s.out, nil
}

// Check refuses what Canonical refuses. It is for bodies of requests.
func Check(in []byte, m Mode) error {
	_, err := Canonical(make([]byte, 0, len(in)), in, m)
	return err
}

// Marshal is encoding/json without its HTML escapes, in canonical form.
func Marshal(v any) ([]byte, error) {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return Canonical(make([]byte, 0, plain.Len()), plain.Bytes(), Strict)
}

// scanner reads one JSON value and writes its canonical form.
type scanner struct {
	in    []byte
	pos   int
	out   []byte
	mode  Mode
	depth int

	unsorted bool // an object has its members in another order than its keys'
}

func (s *scanner) fail(why string) error { return &SyntaxError{Offset: s.pos, Why: why} }

// whole reads the value and sees to it that nothing follows.
func (s *scanner) whole() error {
	if len(s.in) > maxInput {
		return s.fail("too large")
	}
	if err := s.value(); err != nil {
		return err
	}
	if s.space(); s.pos != len(s.in) {
		return s.fail("something follows the value")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.in) {
		switch s.in[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return
		}
	}
}

// next skips space and gives the byte there, 0 at the end of the input.
func (s *scanner) next() byte {
	if s.pos < len(s.in) && s.in[s.pos] > ' ' {
		return s.in[s.pos]
	}
	s.space()
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	return 0
}

func (s *scanner) value() error {
	switch c := s.next(); c {
	case '"':
		_, err := s.text()
		return err
	case '{':
		return s.object()
	case '[':
		return s.array()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return s.number()
		}
		if s.pos >= len(s.in) {
			return s.fail("a value is missing")
		}
		return s.fail("this is not the beginning of a value")
	}
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.in[s.pos:], []byte(word)) {
		return s.fail("this is not the beginning of a value")
	}
	s.pos += len(word)
	s.out = append(s.out, word...)
	return nil
}

// enter opens a container, and leave closes it.
func (s *scanner) enter(bracket byte) error {
	if s.depth++; s.depth > MaxDepth {
		return s.fail("nested too deeply")
	}
	s.pos++
	s.out = append(s.out, bracket)
	return nil
}

func (s *scanner) leave(bracket byte) {
	s.depth--
	s.pos++
	s.out = append(s.out, bracket)
}

func (s *scanner) array() error {
	if err := s.enter('['); err != nil {
		return err
	}
	if s.next() == ']' {
		s.leave(']')
		return nil
	}
	for {
		if err := s.value(); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.pos++
			s.out = append(s.out, ',')
		case ']':
			s.leave(']')
			return nil
		default:
			return s.fail("a comma or ] is missing")
		}
	}
}

// object reads an object. Most come with their keys in order, so that only the last key is remembered;
// where one is not, all is sorted in the end.
func (s *scanner) object() error {
	if err := s.enter('{'); err != nil {
		return err
	}
	if s.next() == '}' {
		s.leave('}')
		return nil
	}
	sorted := true
	var last key
	for {
		k, err := s.key()
		if err != nil {
			return err
		}
		if last.end > 0 && sorted {
			switch c := compare(s.out, last, k); {
			case c == 0:
				return s.fail(twice)
			case c > 0:
				sorted, s.unsorted = false, true
			}
		}
		last = k
		if err := s.value(); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.pos++
			s.out = append(s.out, ',')
			continue
		case '}':
		default:
			return s.fail("a comma or } is missing")
		}
		s.leave('}')
		return nil
	}
}

const twice = "the same key twice"

// maxInput keeps all places within an int32: a float of four bytes can become one of eighteen.
const maxInput = math.MaxInt32 / 8

// key is where a key stands in the output, without its quotes.
type key struct {
	start, end int32
	escaped    bool // it has an escape, so that its bytes do not sort as its code points do
}

// key reads the key of a member and the colon behind it.
func (s *scanner) key() (key, error) {
	if s.next() != '"' {
		return key{}, s.fail("a key is missing")
	}
	start := int32(len(s.out) + 1)
	escaped, err := s.text()
	if err != nil {
		return key{}, err
	}
	k := key{start: start, end: int32(len(s.out) - 1), escaped: escaped}
	if s.next() != ':' {
		return key{}, s.fail("a colon is missing")
	}
	s.pos++
	s.out = append(s.out, ':')
	return k, nil
}

// compare orders two keys by their code points, which is the order of their UTF-8.
func compare(out []byte, a, b key) int {
	ka, kb := out[a.start:a.end], out[b.start:b.end]
	if a.escaped || b.escaped {
		var roomA, roomB [64]byte
		return bytes.Compare(unescape(roomA[:0], ka), unescape(roomB[:0], kb))
	}
	return bytes.Compare(ka, kb)
}
