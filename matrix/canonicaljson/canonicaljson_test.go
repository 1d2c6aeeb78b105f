package canonicaljson_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"astrocyte/matrix/canonicaljson"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	const refused = ""
	for _, c := range []struct{ name, in, strict, loose string }{
		{"members are sorted", `{"b":1,"a":2}`, `{"a":2,"b":1}`, `{"a":2,"b":1}`},
		{"deep members are sorted", `[{"b":{"d":1,"c":2},"a":[{"f":1,"e":2}]}]`, `[{"a":[{"e":2,"f":1}],"b":{"c":2,"d":1}}]`, `[{"a":[{"e":2,"f":1}],"b":{"c":2,"d":1}}]`},
		{"keys sort by code points, not UTF-16", `{"😀":1,"` + "\uffff" + `":2}`, `{"` + "\uffff" + `":2,"😀":1}`, `{"` + "\uffff" + `":2,"😀":1}`},
		{"escaped keys sort as what they stand for", `{"\u0001":1,"!":2,"\"":3,"#":4,"\\":5,"]":6,"[":7}`, `{"\u0001":1,"!":2,"\"":3,"#":4,"[":7,"\\":5,"]":6}`, `{"\u0001":1,"!":2,"\"":3,"#":4,"[":7,"\\":5,"]":6}`},
		{"a key and its beginning", `{"aa":1,"a":2,"":3}`, `{"":3,"a":2,"aa":1}`, `{"":3,"a":2,"aa":1}`},
		{"no space", " {\t\"a\" :\r\n [ 1 , 2 ] } ", `{"a":[1,2]}`, `{"a":[1,2]}`},
		{"the shortest escapes", `"\u0041\u00e9\/\u000a\u001F\u007f\ud83d\ude00"`, `"Aé/\n\u001f` + "\x7f😀" + `"`, `"Aé/\n\u001f` + "\x7f😀" + `"`},
		{"minus zero", `[-0]`, `[0]`, `[0]`},
		{"the largest integers", `[9007199254740991,-9007199254740991]`, `[9007199254740991,-9007199254740991]`, `[9007199254740991,-9007199254740991]`},
		{"an integer beyond them", `9007199254740992`, refused, `9007199254740992`},
		{"an integer of any size", `-123456789012345678901234567890`, refused, `-123456789012345678901234567890`},
		{"floats", `[1.0,1.5,-0.0,1e2,1E16,1e-5,0.0001,12345678.9,1e22]`, refused, `[1.0,1.5,-0.0,100.0,1e+16,1e-05,0.0001,12345678.9,1e+22]`},
		{"a float too large", `1e309`, refused, refused},
		{"a key twice", `{"a":1,"a":1}`, refused, refused},
		{"a key twice, far apart and not in order", `{"b":1,"a":1,"c":1,"b":1}`, refused, refused},
		{"a key twice, escaped in two ways", `{"a":1,"\u0061":1}`, refused, refused},
		{"a key in two cases is two keys", `{"a":1,"A":2}`, `{"A":2,"a":1}`, `{"A":2,"a":1}`},
		{"half of a pair", `"\ud800"`, refused, refused},
		{"the wrong halves of a pair", `"\ude00\ud83d"`, refused, refused},
		{"a surrogate in UTF-8", "\"\xed\xa0\x80\"", refused, refused},
		{"not UTF-8", "\"\xff\"", refused, refused},
		{"UTF-8 longer than needed", "\"\xc0\xaf\"", refused, refused},
		{"a control character", "\"\x01\"", refused, refused},
		{"a mark of the byte order", "\xef\xbb\xbf{}", refused, refused},
		{"leading zeros", `01`, refused, refused},
		{"a plus sign", `+1`, refused, refused},
		{"no digit", `-`, refused, refused},
		{"not a number", `NaN`, refused, refused},
		{"a comma too many", `[1,]`, refused, refused},
		{"no comma", `[1 2]`, refused, refused},
		{"no colon", `{"a" 1}`, refused, refused},
		{"two values", `1 1`, refused, refused},
		{"nothing", ``, refused, refused},
		{"an open string", `"a`, refused, refused},
		{"an open escape", `"\`, refused, refused},
		{"an escape that is none", `"\x"`, refused, refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			for mode, want := range map[canonicaljson.Mode]string{canonicaljson.Strict: c.strict, canonicaljson.Loose: c.loose} {
				out, err := canonicaljson.Canonical([]byte("before"), []byte(c.in), mode)
				var bad *canonicaljson.SyntaxError
				switch {
				case want == refused && !errors.As(err, &bad):
					t.Errorf("mode %d: %q, %v, wanted it refused", mode, out, err)
				case want != refused && (err != nil || string(out) != "before"+want):
					t.Errorf("mode %d: %q, %v, wanted %q", mode, out, err, want)
				}
			}
		})
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for depth, ok := range map[int]bool{1: true, 127: true, 128: false, 100000: false} {
		in := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		if err := canonicaljson.Check([]byte(in), canonicaljson.Strict); (err == nil) != ok {
			t.Errorf("%d containers: %v", depth, err)
		}
	}
	if _, err := canonicaljson.CanonicalIn(nil, []byte("[]"), canonicaljson.Strict, 127); err == nil {
		t.Error("a container within 127 was accepted")
	}
}

// TestRunsBeyondASCII cuts text of characters of all lengths, and damages it, at every place.
func TestRunsBeyondASCII(t *testing.T) {
	t.Parallel()
	text := "aé€😀\x7f\u0080\uffff"
	for at := range len(text) {
		for _, in := range []string{text[at:], text[:at], text[:at] + "x" + text[at:], strings.Repeat("x", at) + text} {
			out, err := canonicaljson.Canonical(nil, []byte(`"`+in+`"`), canonicaljson.Strict)
			if want := utf8.ValidString(in); (err == nil) != want || want && string(out) != `"`+in+`"` {
				t.Fatalf("%q: %q, %v", in, out, err)
			}
		}
	}
}

// TestLongRuns puts each byte that ends a run of plain text at every place of the words that are read.
func TestLongRuns(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 20 {
			text := []byte(strings.Repeat("x", 20))
			text[at] = byte(c)
			in := `"` + string(text) + `"`
			want := c >= ' ' && c < 0x80 && c != '"' && c != '\\'
			out, err := canonicaljson.Canonical(nil, []byte(in), canonicaljson.Strict)
			if (err == nil) != want || want && string(out) != in {
				t.Fatalf("byte %#x at %d: %q, %v", c, at, out, err)
			}
		}
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	out, err := canonicaljson.Marshal(struct {
		B string `json:"b"`
		A int    `json:"a"`
	}{"<&>", 1})
	if want := `{"a":1,"b":"<&>"}`; err != nil || string(out) != want {
		t.Errorf("%s, %v, wanted %s", out, err, want)
	}
	if _, err := canonicaljson.Marshal(1.5); err == nil {
		t.Error("a float was accepted")
	}
}

func TestField(t *testing.T) {
	t.Parallel()
	object := []byte(` { "a" : { "b\n" : [1, "}"] , "c" : "\"" } , "d" : 5 } `)
	for _, c := range []struct {
		path []string
		want string
		ok   bool
	}{
		{[]string{"a", "b\n"}, `[1, "}"]`, true}, {[]string{"a", "c"}, `"\""`, true}, {[]string{"d"}, `5`, true},
		{[]string{"A"}, "", false}, {[]string{"d", "e"}, "", false}, {[]string{"a", "b"}, "", false},
	} {
		if got, ok := canonicaljson.Field(object, c.path...); string(got) != c.want || ok != c.ok {
			t.Errorf("%q: %q, %v, wanted %q", c.path, got, ok, c.want)
		}
	}
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	priv := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := priv.Public().(ed25519.PublicKey)
	object := []byte(`{"unsigned":{"x":1},"b":2,"a":1,"signatures":{"z.example":{"ed25519:1":"old"}}}`)
	signed, err := canonicaljson.Sign(object, "a.example", "ed25519:1", priv)
	if err != nil {
		t.Fatal(err)
	}
	signed, err = canonicaljson.Sign(signed, "a.example", "ed25519:2", priv)
	if err != nil {
		t.Fatal(err)
	}
	sig, _ := canonicaljson.Field(signed, "signatures", "a.example", "ed25519:1")
	want := fmt.Sprintf(`{"a":1,"b":2,"signatures":{"a.example":{"ed25519:1":%s,"ed25519:2":%s},"z.example":{"ed25519:1":"old"}},"unsigned":{"x":1}}`, sig, sig)
	if string(signed) != want {
		t.Fatalf("%s, wanted %s", signed, want)
	}
	for name, c := range map[string]struct {
		object, signer, key string
		ok                  bool
	}{
		"as signed":             {string(signed), "a.example", "ed25519:1", true},
		"another unsigned":      {strings.Replace(string(signed), `"x":1`, `"x":2`, 1), "a.example", "ed25519:1", true},
		"in another order":      {" " + strings.Replace(string(signed), `"a":1,"b":2`, `"b":2, "a":1`, 1), "a.example", "ed25519:1", true},
		"another member":        {strings.Replace(string(signed), `"b":2`, `"b":3`, 1), "a.example", "ed25519:1", false},
		"another key":           {string(signed), "a.example", "ed25519:3", false},
		"another server":        {string(signed), "b.example", "ed25519:1", false},
		"a text of another key": {string(signed), "z.example", "ed25519:1", false},
	} {
		err := canonicaljson.Verify([]byte(c.object), c.signer, c.key, pub)
		if c.ok && err != nil || !c.ok && !errors.Is(err, canonicaljson.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseBase64(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "YQ": "a", "YQ==": "a", "-_8": "\xfb\xff", "+/8": "\xfb\xff", "+/8=": "\xfb\xff",
	} {
		if got, ok := canonicaljson.ParseBase64(in); !ok || string(got) != want {
			t.Errorf("%q: %q, %v, wanted %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"Y", "Y Q", "YQ\n", "Y\nQ", "+_8", "é", "=YQ"} {
		if got, ok := canonicaljson.ParseBase64(in); ok {
			t.Errorf("%q was read as %q", in, got)
		}
	}
}
