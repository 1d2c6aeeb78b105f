package canonicaljson

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// text reads a string and writes it with its shortest escapes. It says whether it wrote any.
func (s *scanner) text() (escaped bool, err error) {
	s.pos++
	s.out = append(s.out, '"')
	for {
		end, ascii := run(s.in, s.pos)
		if !ascii && !utf8.Valid(s.in[s.pos:end]) {
			return false, s.fail("this is not UTF-8")
		}
		s.out = append(s.out, s.in[s.pos:end]...)
		if s.pos = end; end >= len(s.in) {
			return false, s.fail("a string does not end")
		}
		switch s.in[end] {
		case '"':
			s.pos++
			s.out = append(s.out, '"')
			return escaped, nil
		case '\\':
			wrote, err := s.escape()
			if err != nil {
				return false, err
			}
			escaped = escaped || wrote
		default:
			return false, s.fail("a control character in a string")
		}
	}
}

// run gives the end of the run of bytes from i that may stand for themselves in a string, and whether
// they are all ASCII. It looks at eight bytes at once: the high bit of a lane is set where its byte ends
// the run.
func run(in []byte, i int) (end int, ascii bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	seen := uint64(0)
	for i+8 <= len(in) {
		w := binary.LittleEndian.Uint64(in[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		if ((w-ones*' ')&^w|(quote-ones)&^quote|(slash-ones)&^slash)&highs != 0 {
			break
		}
		seen |= w
		i += 8
	}
	for ; i < len(in) && in[i] >= ' ' && in[i] != '"' && in[i] != '\\'; i++ {
		seen |= uint64(in[i])
	}
	return i, seen&highs == 0
}

// plain says whether a byte is a character that stands for itself in a string.
func plain(c byte) bool { return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' }

// escape reads one escape, or the two of a surrogate pair, and writes the character.
func (s *scanner) escape() (wrote bool, err error) {
	if s.pos+1 >= len(s.in) {
		return false, s.fail("a string does not end")
	}
	var r rune
	switch c := s.in[s.pos+1]; c {
	case '"', '\\', '/':
		r = rune(c)
	case 'b':
		r = '\b'
	case 'f':
		r = '\f'
	case 'n':
		r = '\n'
	case 'r':
		r = '\r'
	case 't':
		r = '\t'
	case 'u':
		if r, err = s.unicode(); err != nil {
			return false, err
		}
		s.out, wrote = appendRune(s.out, r)
		return wrote, nil
	default:
		return false, s.fail("this is not an escape")
	}
	s.pos += 2
	s.out, wrote = appendRune(s.out, r)
	return wrote, nil
}

// unicode reads \uXXXX, with the other half where it is one of a surrogate pair.
func (s *scanner) unicode() (rune, error) {
	r, ok := hex4(s.in[s.pos:])
	if !ok {
		return 0, s.fail("this is not an escape")
	}
	if !utf16.IsSurrogate(r) {
		s.pos += 6
		return r, nil
	}
	low, ok := hex4(s.in[s.pos+6:])
	if !ok {
		return 0, s.fail("half of a surrogate pair")
	}
	r = utf16.DecodeRune(r, low)
	if r == utf8.RuneError {
		return 0, s.fail("half of a surrogate pair")
	}
	s.pos += 12
	return r, nil
}

// hex4 reads the \uXXXX that b begins with.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendRune writes a character of a string, escaped where it must be.
func appendRune(out []byte, r rune) (_ []byte, escaped bool) {
	switch r {
	case '"', '\\':
		return append(out, '\\', byte(r)), true
	case '\b':
		return append(out, `\b`...), true
	case '\f':
		return append(out, `\f`...), true
	case '\n':
		return append(out, `\n`...), true
	case '\r':
		return append(out, `\r`...), true
	case '\t':
		return append(out, `\t`...), true
	}
	if r < ' ' {
		return append(out, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15]), true
	}
	return utf8.AppendRune(out, r), false
}

// AppendText appends s as a canonical JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendText[T ~string](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		if plain(s[i]) {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		r, n := utf8.DecodeRuneInString(string(s[i:]))
		dst, _ = appendRune(dst, r)
		i += n
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// unescape appends what canonical string bytes, without their quotes, stand for.
func unescape(dst, text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return append(dst, text...)
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 >= len(text) {
			dst = append(dst, c)
			continue
		}
		i++
		switch text[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(text[i-1:])
			dst = utf8.AppendRune(dst, r)
			i += 4
		default:
			dst = append(dst, text[i])
		}
	}
	return dst
}

// AppendUnquoted appends what a canonical JSON string stands for; nothing where the value is of another
// kind.
func AppendUnquoted(dst, value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return dst
	}
	return unescape(dst, value[1:len(value)-1])
}
