package canonicaljson_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"astrocyte/matrix/canonicaljson"
)

// BenchmarkCanonical prints what a byte costs: of usual objects, and of those that somebody would send to
// keep a server busy.
func BenchmarkCanonical(b *testing.B) {
	usual := `"content":{"body":"Shall we meet at the station?","msgtype":"m.text"},"depth":7,"type":"m.room.message"`
	wide := func(key string) string {
		r := rand.New(rand.NewPCG(1, 2))
		members := make([]string, 4000)
		for i, n := range r.Perm(len(members)) {
			members[i] = fmt.Sprintf(`"%s%d":1`, key, n)
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	long := `["` + strings.Repeat(`x","`, 15000) + `"]`
	for _, c := range []struct{ name, in string }{
		{"sorted", "{" + usual + "}"},
		{"not sorted", `{"zzz":1,` + usual + "}"},
		{"plain text", `"` + strings.Repeat("x", 60000) + `"`},
		{"text beyond ASCII", `"` + strings.Repeat("ü", 30000) + `"`},
		{"escapes", `"` + strings.Repeat(`\u00fc`, 10000) + `"`},
		{"many strings", long},
		{"many keys, shuffled", wide("key")},
		{"many escaped keys, shuffled", wide(`\n`)},
		{"deep, never sorted", strings.Repeat(`{"b":1,"a":`, 126) + long + strings.Repeat("}", 126)},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := []byte(c.in)
			dst := make([]byte, 0, len(in))
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for range b.N {
				if _, err := canonicaljson.Canonical(dst, in, canonicaljson.Strict); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
