package canonicaljson

import (
	"bytes"
	"slices"
)

// Members that did not come in order are sorted when the whole value has been read and written: once
// through the bytes to note where everything stands, and once to write. To sort each object when it ends
// would move the innermost bytes once for each level around them, which a sender could make costly.

// object is where an object stands in the bytes. It has members only where they were not in order.
type object struct {
	start, end int32
	next       int32 // the first object that is not within this one
	members    []member
}

// member is where a member stands: its key, and its value with the objects within.
type member struct {
	key         key
	value, end  int32
	first, last int32
}

// sorter notes the objects of a value in the order of their beginnings.
type sorter struct {
	in      []byte
	objects []object
	open    []member // of the objects that have not ended, a stack
}

// sortMembers sorts the members of all objects of the value that stands in out from start on.
func sortMembers(out []byte, start int) ([]byte, error) {
	s := sorter{in: bytes.Clone(out[start:]), objects: make([]object, 0, 8), open: make([]member, 0, 24)}
	s.note(0)
	for _, o := range s.objects {
		slices.SortFunc(o.members, func(a, b member) int { return compare(s.in, a.key, b.key) })
		for i := 1; i < len(o.members); i++ {
			if compare(s.in, o.members[i-1].key, o.members[i].key) == 0 {
				return out[:start], &SyntaxError{Offset: int(o.members[i].key.start), Why: twice}
			}
		}
	}
	return s.write(out[:start], 0, int32(len(s.in)), 0, int32(len(s.objects))), nil
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
	at, base, sorted := len(s.objects), len(s.open), true
	s.objects = append(s.objects, object{start: int32(start)})
	i := start + 1
	for s.in[i] != '}' {
		end := skipText(s.in, i)
		escaped := bytes.IndexByte(s.in[i+1:end-1], '\\') >= 0
		m := member{key: key{int32(i + 1), int32(end - 1), escaped}, value: int32(end + 1), first: int32(len(s.objects))}
		if n := len(s.open); n > base && sorted {
			sorted = compare(s.in, s.open[n-1].key, m.key) < 0
		}
		s.open = append(s.open, m)
		i = s.note(end + 1)
		m.end, m.last = int32(i), int32(len(s.objects))
		s.open[len(s.open)-1] = m
		if s.in[i] == ',' {
			i++
		}
	}
	o := &s.objects[at]
	o.end, o.next = int32(i+1), int32(len(s.objects))
	if !sorted {
		o.members = slices.Clone(s.open[base:])
	}
	s.open = s.open[:base]
	return i + 1
}

// write appends the bytes from from to to, of which the objects first to last-1 are part.
func (s *sorter) write(dst []byte, from, to, first, last int32) []byte {
	for first < last {
		o := &s.objects[first]
		if first++; o.members == nil { // what is within it comes next
			continue
		}
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
