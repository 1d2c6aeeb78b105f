package canonicaljson

import "bytes"

// The functions of this file walk bytes that Canonical or Check has accepted. On other bytes they
// give errors or nothing found, and never panic.

// Fields calls fn for each member of an object, in their order, with the unescaped key and the bytes
// of the value. It ends at the first error of fn and gives it.
func Fields(object []byte, fn func(key string, value []byte) error) error {
	w := Walk(object)
	for w.Next() {
		if err := fn(w.Key(), w.Value()); err != nil {
			return err
		}
	}
	return w.Err()
}

// Field finds the value at a path of keys.
func Field(object []byte, path ...string) ([]byte, bool) {
	value := object
	for _, name := range path {
		w := Walk(value)
		found := false
		for !found && w.Next() {
			if found = w.Is(name); found {
				value = w.Value()
			}
		}
		if !found {
			return nil, false
		}
	}
	return value, true
}

// Walker goes over the members of an object, or the elements of an array.
type Walker struct {
	in         []byte
	pos        int
	close      byte
	key        []byte
	start, end int
	err        error
}

// Walk begins a walk over the members of an object.
func Walk(object []byte) Walker { return begin(object, '{', '}') }

// WalkArray begins a walk over the elements of an array.
func WalkArray(array []byte) Walker { return begin(array, '[', ']') }

func begin(in []byte, open, close byte) Walker {
	w := Walker{in: in, close: close}
	if w.skip(); w.pos >= len(in) || in[w.pos] != open {
		w.fail("a container of another kind is wanted")
		return w
	}
	w.pos++
	return w
}

func (w *Walker) fail(why string) bool {
	w.err = &SyntaxError{Offset: w.pos, Why: why}
	return false
}

// Err is why the walk ended before the end of the container.
func (w *Walker) Err() error { return w.err }

// Key is the unescaped key of the member.
func (w *Walker) Key() string {
	if bytes.IndexByte(w.key, '\\') >= 0 {
		return unescapeAny(w.key)
	}
	return string(w.key)
}

// RawKey is the key of the member as it stands, without its quotes.
func (w *Walker) RawKey() []byte { return w.key }

// Is compares the unescaped key.
func (w *Walker) Is(name string) bool {
	if bytes.IndexByte(w.key, '\\') >= 0 {
		return unescapeAny(w.key) == name
	}
	return string(w.key) == name
}

// Value is the bytes of the value.
func (w *Walker) Value() []byte { return w.in[w.start:w.end] }

func (w *Walker) skip() {
	for w.pos < len(w.in) && w.in[w.pos] <= ' ' {
		w.pos++
	}
}

// Skip gives the end of the value that begins at i of a longer text.
func Skip(in []byte, i int) int { return skipValue(in, i) }

// Next goes to the next member or element. It gives false behind the last.
func (w *Walker) Next() bool {
	if w.err != nil {
		return false
	}
	if w.skip(); w.pos >= len(w.in) {
		return w.fail("a container does not end")
	}
	switch w.in[w.pos] {
	case w.close:
		return false
	case ',':
		w.pos++
		w.skip()
	}
	if w.close == '}' && !w.readKey() {
		return false
	}
	w.skip()
	end := skipValue(w.in, w.pos)
	if end <= w.pos {
		return w.fail("a value is missing")
	}
	w.start, w.end, w.pos = w.pos, end, end
	return true
}

func (w *Walker) readKey() bool {
	if w.pos >= len(w.in) || w.in[w.pos] != '"' {
		return w.fail("a key is missing")
	}
	end := skipText(w.in, w.pos)
	w.key = w.in[w.pos+1 : max(end-1, w.pos+1)]
	w.pos = end
	if w.skip(); w.pos >= len(w.in) || w.in[w.pos] != ':' {
		return w.fail("a colon is missing")
	}
	w.pos++
	return true
}

// skipText gives the end of the string that begins at i.
func skipText(in []byte, i int) int {
	for i++; i < len(in); {
		n := bytes.IndexByte(in[i:], '"')
		if n < 0 {
			return len(in)
		}
		j := i + n
		slashes := 0
		for j-slashes > i && in[j-slashes-1] == '\\' {
			slashes++
		}
		if i = j + 1; slashes%2 == 0 {
			return i
		}
	}
	return i
}

// skipValue gives the end of the value that begins at i.
func skipValue(in []byte, i int) int {
	switch {
	case i >= len(in):
		return i
	case in[i] == '"':
		return skipText(in, i)
	case in[i] == '{' || in[i] == '[':
		return skipContainer(in, i)
	}
	for i < len(in) && !delimiter[in[i]] {
		i++
	}
	return i
}

// skipContainer gives the end of the object or array that begins at i. Within it only strings have to
// be told from the rest, because they may have brackets in them.
func skipContainer(in []byte, i int) int {
	depth := 0
	for i < len(in) {
		switch in[i] {
		case '"':
			i = skipText(in, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return i
}

// delimiter is the bytes that end a number or a word.
var delimiter = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, ',': true, ':': true, '"': true, '{': true, '}': true, '[': true, ']': true}

// Text gives what a JSON string stands for; false where the value is of another kind.
func Text(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return "", false
	}
	value = value[1 : len(value)-1]
	if bytes.IndexByte(value, '\\') >= 0 {
		return unescapeAny(value), true
	}
	return string(value), true
}

// unescapeAny is unescape for strings that are not canonical, with any escape.
func unescapeAny(text []byte) string {
	in := make([]byte, 0, len(text)+2)
	in = append(append(append(in, '"'), text...), '"')
	s := scanner{in: in}
	if _, err := s.text(); err != nil {
		return ""
	}
	return string(unescape(nil, s.out[1:len(s.out)-1]))
}
