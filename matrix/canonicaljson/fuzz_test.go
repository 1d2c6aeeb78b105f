package canonicaljson_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"astrocyte/matrix/canonicaljson"
)

// seeds are inputs of every kind; more of them, which were hard once, are in testdata.
var seeds = []string{
	``, `null`, `true`, `[]`, `{}`, ` { "b" : 1 , "a" : [ 2 , { } ] } `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`,
	`"\ud83d\ude00"`, `"\ud83d"`, `"\u0000\b\f\n\r\t\/\"\\"`, `-0`, `-0.0`, `1e400`, `1e-5`, `9007199254740992`, `01`, `.5`, `5.`, `1e`,
	`{"\u00e9":1,"é":1}`, `{"ſ":1,"s":2,"S":3}`, "\xef\xbb\xbf{}", "\"\xff\"", "\"\xed\xa0\x80\"", `{"a":1}x`, `{"a"`, `{"a":`, `[1,]`, `{,}`, `{"a":1,}`,
	`{"` + "\U0001F600" + `":1,"` + "\uffff" + `":2}`, `NaN`, `-Infinity`, `'a'`, "\"a\nb\"", `{"b":{"d":1,"c":2},"a":{"f":1,"e":2}}`,
}

func FuzzCanonical(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(strings.Repeat("[", 127) + strings.Repeat("]", 127)))
	f.Add([]byte(strings.Repeat(`{"b":1,"a":`, 128) + "1" + strings.Repeat("}", 128)))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		strict, strictErr := canonicaljson.Canonical(nil, in, canonicaljson.Strict)
		loose, looseErr := canonicaljson.Canonical(nil, in, canonicaljson.Loose)
		if !bytes.Equal(before, in) {
			t.Fatalf("the input was written")
		}
		if strictErr == nil && (looseErr != nil || !bytes.Equal(strict, loose)) {
			t.Fatalf("%q: strict gives %q, and loose %q, %v", in, strict, loose, looseErr)
		}
		if (canonicaljson.Check(in, canonicaljson.Strict) == nil) != (strictErr == nil) {
			t.Fatalf("%q: Check does not agree with Canonical", in)
		}
		if looseErr != nil {
			return
		}
		again, err := canonicaljson.Canonical(nil, loose, canonicaljson.Loose)
		if err != nil || !bytes.Equal(again, loose) {
			t.Fatalf("canonical of %q is %q, and of that %q, %v", in, loose, again, err)
		}
		if a, b := decode(t, in), decode(t, loose); !reflect.DeepEqual(a, b) {
			t.Fatalf("%q means %v, and its canonical form %v", in, a, b)
		}
		walkAll(t, loose, 0)
	})
}

// decode reads JSON in another way than this package.
func decode(t *testing.T, in []byte) any {
	var v any
	if err := json.Unmarshal(in, &v); err != nil {
		if strings.Contains(err.Error(), "cannot unmarshal number") { // an integer beyond a float
			return nil
		}
		t.Fatalf("encoding/json refuses %q: %v", in, err)
	}
	return v
}

// walkAll goes over all that stands in a canonical value, and finds every member again by its key.
func walkAll(t *testing.T, value []byte, depth int) {
	switch value[0] {
	case '{':
		w := canonicaljson.Walk(value)
		for w.Next() {
			found, ok := canonicaljson.Field(value, w.Key())
			if !ok || !bytes.Equal(found, w.Value()) {
				t.Fatalf("member %q of %q: found %q, %v", w.Key(), value, found, ok)
			}
			walkAll(t, w.Value(), depth+1)
		}
		if w.Err() != nil {
			t.Fatalf("%q: %v", value, w.Err())
		}
	case '[':
		w := canonicaljson.WalkArray(value)
		for w.Next() {
			walkAll(t, w.Value(), depth+1)
		}
		if w.Err() != nil {
			t.Fatalf("%q: %v", value, w.Err())
		}
	case '"':
		var want string
		if err := json.Unmarshal(value, &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := canonicaljson.Text(value); !ok || got != want {
			t.Fatalf("text %q: %q, wanted %q", value, got, want)
		}
		if back := canonicaljson.AppendText(nil, want); !bytes.Equal(back, value) {
			t.Fatalf("text %q was written as %q", value, back)
		}
	}
}

// FuzzFields walks bytes that nobody has checked: errors, but no panic and no end without end.
func FuzzFields(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), "a")
	}
	f.Fuzz(func(t *testing.T, in []byte, key string) {
		n := 0
		_ = canonicaljson.Fields(in, func(string, []byte) error { n++; return nil })
		for w := canonicaljson.WalkArray(in); w.Next(); {
			n++
			_, _ = canonicaljson.Text(w.Value())
		}
		if n > 2*len(in)+2 {
			t.Fatalf("%d members in %d bytes", n, len(in))
		}
		_, _ = canonicaljson.Field(in, key, key)
	})
}

func FuzzBase64(f *testing.F) {
	for _, s := range []string{"", "AA", "AA==", "A", "a-_", "a+/", "a\n", "=", "AB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := canonicaljson.ParseBase64(s)
		if !ok {
			return
		}
		if again, ok := canonicaljson.ParseBase64(canonicaljson.Base64(b)); !ok || !bytes.Equal(again, b) {
			t.Fatalf("%q is %x, and written and read again %x", s, b, again)
		}
	})
}
