package canonicaljson

import (
	"bytes"
	"slices"
)

// Members that did not come in order are sorted when the whole value has been read and written: once
// through the bytes to note where everything stands, and once to write. To sort each object when it ends
// would move the innermost bytes once for each level around them, which a sender could make costly.

// object is where an object stands in the bytes.
type object struct {
	start, end int
	members    []member
	next       int // the first object that is not within this one
}

// member is where a member stands: its key, and its value with the objects within.
type member struct {
	key         key
	value, end  int
	first, last int
}

// sorter notes the objects of a value in the order of their beginnings.
type sorter struct {
	in      []byte
	objects []object
}

// sortMembers sorts the members of all objects of the value that stands in out from start on.
func sortMembers(out []byte, start int) ([]byte, error) {
	s := sorter{in: bytes.Clone(out[start:]), objects: make([]object, 0, 8)}
	s.note(0)
	for _, o := range s.objects {
		slices.SortFunc(o.members, func(a, b member) int { return compare(s.in, a.key, b.key) })
		for i := 1; i < len(o.members); i++ {
			if compare(s.in, o.members[i-1].key, o.members[i].key) == 0 {
				return out[:start], &SyntaxError{Offset: o.members[i].key.start, Why: twice}
			}
		}
	}
	return s.write(out[:start], 0, len(s.in), 0, len(s.objects)), nil
}

// note goes through the value that begins at i and gives its end. Its bytes have been written by the
// scanner, so that nothing can be missing.
func (s *sorter) note(i int) int {
	switch s.in[i] {
	case '{':
		return s.noteObject(i)
	case '[':
		for i++; s.in[i] != ']'; {
			if i = s.note(i); s.in[i] == ',' {
				i++
			}
		}
		return i + 1
	default:
		return skipValue(s.in, i)
	}
}

func (s *sorter) noteObject(start int) int {
	at := len(s.objects)
	s.objects = append(s.objects, object{start: start})
	members := make([]member, 0, 8)
	i := start + 1
	for s.in[i] != '}' {
		end := skipText(s.in, i)
		m := member{key: key{start: i + 1, end: end - 1}, value: end + 1, first: len(s.objects)}
		m.key.escaped = bytes.IndexByte(s.in[i+1:end-1], '\\') >= 0
		i = s.note(m.value)
		m.end, m.last = i, len(s.objects)
		members = append(members, m)
		if s.in[i] == ',' {
			i++
		}
	}
	s.objects[at] = object{start: start, end: i + 1, members: members, next: len(s.objects)}
	return i + 1
}

// write appends the bytes from from to to, of which the objects first to last-1 are part.
func (s *sorter) write(dst []byte, from, to, first, last int) []byte {
	for first < last {
		o := &s.objects[first]
		dst = append(dst, s.in[from:o.start+1]...)
		for i, m := range o.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, s.in[m.key.start-1:m.value]...)
			dst = s.write(dst, m.value, m.end, m.first, m.last)
		}
		from, first = o.end-1, o.next
	}
	return append(dst, s.in[from:to]...)
}
