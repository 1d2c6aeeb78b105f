package store

import (
	"fmt"
	"reflect"
)

// list is the argument of an {IN $n T}.
type list struct {
	ints  []int64
	texts []string
	bytes [][]byte
	kind  byte // i, t, b
}

// List makes the argument of an {IN $n T}: integers for INT8, strings for TEXT, []byte for BYTES.
// An empty list has no members.
func List[T any](values []T) any {
	switch v := any(values).(type) {
	case []int64:
		return list{kind: 'i', ints: v}
	case []string:
		return list{kind: 't', texts: v}
	case [][]byte:
		return list{kind: 'b', bytes: v}
	}
	return listOf(reflect.ValueOf(values))
}

// listOf makes a list of values of a named type.
func listOf(v reflect.Value) any {
	var l list
	switch elem := v.Type().Elem(); elem.Kind() {
	case reflect.String:
		l.kind, l.texts = 't', make([]string, v.Len())
		for i := range l.texts {
			l.texts[i] = v.Index(i).String()
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		l.kind, l.ints = 'i', make([]int64, v.Len())
		for i := range l.ints {
			l.ints[i] = v.Index(i).Int()
		}
	case reflect.Slice:
		if elem.Elem().Kind() == reflect.Uint8 {
			l.kind, l.bytes = 'b', make([][]byte, v.Len())
			for i := range l.bytes {
				l.bytes[i] = v.Index(i).Bytes()
			}
		}
	}
	return l // of no kind: refused when it is encoded
}

// Keyed makes the argument of a {KEYED $n}, the rows (shard, key) of keys that tell where they are kept, such as user ids.
func Keyed[T interface {
	~string
	Shard() int64
}](keys []T) any {
	l := list{kind: 't', texts: make([]string, len(keys))}
	for i, k := range keys {
		l.texts[i] = fmt.Sprintf("%03d%s", k.Shard(), string(k))
	}
	return l
}
