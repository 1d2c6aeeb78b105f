package syncapi

import (
	"strconv"
	"strings"

	"astrocyte/matrix"
)

// Token is a moment up to which a client knows everything. Clients keep its text and do not look inside.
type Token struct {
	Pos    int64 // of the stream
	Epoch  int64 // of the memory that counts typing changes: another one after a restart, or on another node
	Typing int64 // serial of the newest typing change
	// ToDevice is up to where the messages to the device are told, where that is not up to Pos: an answer has
	// a part of a long queue only.
	ToDevice int64
}

// tokenPrefix tells tokens of the stream from those of places in a timeline, and the form of this version.
const tokenPrefix = "s1_"

// String is the text that clients keep.
func (t Token) String() string {
	b := append(make([]byte, 0, 48), tokenPrefix...)
	b = strconv.AppendInt(b, t.Pos, 10)
	b = append(b, '_')
	b = strconv.AppendInt(b, t.Epoch, 36)
	b = append(b, '_')
	b = strconv.AppendInt(b, t.Typing, 10)
	if t.ToDevice > 0 {
		b = strconv.AppendInt(append(b, '_'), t.ToDevice, 10)
	}
	return string(b)
}

// messages is the position up to which the messages to the device are told.
func (t Token) messages() int64 {
	if t.ToDevice > 0 {
		return t.ToDevice
	}
	return t.Pos
}

// ParseToken reads the text of a token.
func ParseToken(s string) (Token, error) {
	bad := matrix.InvalidParam("that is not a sync token of this server")
	rest, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return Token{}, bad
	}
	var t Token
	for i, field := range []*int64{&t.Pos, &t.Epoch, &t.Typing, &t.ToDevice} {
		part, after, more := strings.Cut(rest, "_")
		if i < 2 && !more || i == 3 && more {
			return Token{}, bad
		}
		base := 10
		if i == 1 {
			base = 36
		}
		n, err := strconv.ParseInt(part, base, 64)
		if err != nil || n < 0 || strconv.FormatInt(n, base) != part || i == 3 && n == 0 {
			return Token{}, bad
		}
		if *field, rest = n, after; !more {
			break
		}
	}
	return t, nil
}

// Position reads the position of the stream out of a token. Endpoints that page through a room take
// the tokens of /sync too, and the positions of sliding sync.
//
// Spec: Appendices "Pagination", MSC4186.
func Position(token string) (int64, error) {
	if strings.HasPrefix(token, positionPrefix) {
		p, err := parsePosition(token)
		return p.Pos, err
	}
	t, err := ParseToken(token)
	return t.Pos, err
}
