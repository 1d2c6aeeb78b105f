package canonicaljson

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Canonical checks one JSON value and appends its canonical form to dst.
func Canonical(dst, in []byte, m Mode) ([]byte, error) {
	return CanonicalIn(dst, in, m, 0)
}

// CanonicalIn is Canonical for a value that will stand within outer containers of another one.
func CanonicalIn(dst, in []byte, m Mode, outer int) ([]byte, error) {
	var members [memberRoom]member
	s := scanner{in: in, out: dst, mode: m, depth: outer, members: members[:0]}
	if err := s.whole(); err != nil {
		return dst, err
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

// memberRoom is how many members of open objects are remembered without an allocation.
const memberRoom = 64

// member is where a member of an object stands in the output: its key without the quotes from key to
// keyEnd, and the whole of it to end. The quote before the key is at key-1.
type member struct {
	key, keyEnd, end int32
	escaped          bool // the key has an escape, so its bytes do not sort as its code points do
}

// scanner reads one JSON value and writes its canonical form.
type scanner struct {
	in      []byte
	pos     int
	out     []byte
	mode    Mode
	depth   int
	members []member // of all open objects, a stack
	scratch []byte   // for putting members in order
}

func (s *scanner) fail(why string) error { return &SyntaxError{Offset: s.pos, Why: why} }

// whole reads the value and sees to it that nothing follows.
func (s *scanner) whole() error {
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

func (s *scanner) object() error {
	if err := s.enter('{'); err != nil {
		return err
	}
	if s.next() == '}' {
		s.leave('}')
		return nil
	}
	base, sorted := len(s.members), true
	for {
		m, err := s.key()
		if err != nil {
			return err
		}
		if n := len(s.members); n > base && sorted {
			switch c := s.compare(s.members[n-1], m); {
			case c == 0:
				return s.fail("the same key twice")
			case c > 0:
				sorted = false
			}
		}
		at := len(s.members)
		s.members = append(s.members, m)
		if err := s.value(); err != nil {
			return err
		}
		s.members[at].end = int32(len(s.out))
		switch s.next() {
		case ',':
			s.pos++
			s.out = append(s.out, ',')
			continue
		case '}':
		default:
			return s.fail("a comma or } is missing")
		}
		if !sorted {
			if err := s.sort(s.members[base:]); err != nil {
				return err
			}
		}
		s.members = s.members[:base]
		s.leave('}')
		return nil
	}
}

// key reads the key of a member and the colon behind it.
func (s *scanner) key() (member, error) {
	if s.next() != '"' {
		return member{}, s.fail("a key is missing")
	}
	start := len(s.out) + 1
	escaped, err := s.text()
	if err != nil {
		return member{}, err
	}
	m := member{key: int32(start), keyEnd: int32(len(s.out) - 1), escaped: escaped}
	if s.next() != ':' {
		return member{}, s.fail("a colon is missing")
	}
	s.pos++
	s.out = append(s.out, ':')
	return m, nil
}

// compare orders two members by the code points of their keys.
func (s *scanner) compare(a, b member) int {
	ka, kb := s.out[a.key:a.keyEnd], s.out[b.key:b.keyEnd]
	if a.escaped || b.escaped {
		return bytes.Compare(unescape(nil, ka), unescape(nil, kb))
	}
	return bytes.Compare(ka, kb)
}

// sort puts the members of an object in order, in the output, and finds keys that stand there twice.
func (s *scanner) sort(members []member) error {
	start := members[0].key - 1
	s.scratch = append(s.scratch[:0], s.out[start:]...)
	slices.SortFunc(members, s.compare)
	for i := range members[1:] {
		if s.compare(members[i], members[i+1]) == 0 {
			return s.fail("the same key twice")
		}
	}
	out := s.out[:start]
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, s.scratch[m.key-1-start:m.end-start]...)
	}
	s.out = out
	return nil
}
