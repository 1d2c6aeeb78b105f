package e2ee_test

import (
	"context"
	"fmt"
	"testing"

	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/testkit"
)

// BenchmarkQuery asks for the keys of a thousand users with two devices each.
func BenchmarkQuery(b *testing.B) {
	benchEach(b, func(b *testing.B, dsn string) {
		w := start(b, dsn, "")
		w.account(bob)
		wanted := make(e2ee.Wanted)
		k := newKey(b)
		for i := range 1000 {
			user := matrix.UserID(fmt.Sprintf("@user%d:example.org", i))
			w.device(user, "A", "B")
			for _, d := range []matrix.DeviceID{"A", "B"} {
				w.upload(user, d, e2ee.Upload{DeviceKeys: k.identity(b, user, d)})
			}
			wanted[user] = nil
		}
		b.ReportAllocs()
		for b.Loop() {
			got, err := w.Query(context.Background(), bob, wanted, 0)
			if err != nil || len(got.Devices) != 1000 {
				b.Fatalf("%d users, %v", len(got.Devices), err)
			}
		}
	})
}

// BenchmarkClaim claims keys of one device by many at the same time.
func BenchmarkClaim(b *testing.B) {
	benchEach(b, func(b *testing.B, dsn string) {
		w := start(b, dsn, b.TempDir())
		k := newKey(b)
		w.device(alice, "A")
		w.upload(alice, "A", e2ee.Upload{DeviceKeys: k.identity(b, alice, "A")})
		for first := 0; first < 5000 && first < b.N; first += 1000 {
			w.upload(alice, "A", e2ee.Upload{OneTime: k.oneTime(b, alice, "A", first, 1000)})
		}
		b.SetParallelism(32)
		b.ResetTimer()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := w.claim(alice, "A"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func benchEach(b *testing.B, run func(b *testing.B, dsn string)) {
	b.Run("sqlite", func(b *testing.B) { run(b, testkit.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { run(b, testkit.Postgres(b)) })
}
