package roomserver_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/testkit"
)

// BenchmarkSend measures durable messages of 64 senders in 16 rooms.
func BenchmarkSend(b *testing.B) {
	engines := map[string]func(testing.TB) string{"sqlite": testkit.SQLite, "postgres": testkit.Postgres}
	for name, dsn := range engines {
		b.Run(name, func(b *testing.B) {
			r := open(b, testkit.DB(b, dsn(b)))
			var rooms []matrix.RoomID
			for range 16 {
				rooms = append(rooms, create(b, r, roomserver.Creation{}))
			}
			var n atomic.Int64
			b.SetParallelism(32) // of GOMAXPROCS
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					d := message(rooms[i%16], "@alice:example.org", fmt.Sprint(i), "a message of a usual length, as people write it")
					if _, err := r.Send(b.Context(), d); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkJoin measures a join of a room that has many members already.
func BenchmarkJoin(b *testing.B) {
	for _, members := range []int{100, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			r := open(b, testkit.DB(b, testkit.SQLite(b)))
			room := create(b, r, roomserver.Creation{})
			for i := range members {
				join(b, r, room, matrix.UserID(fmt.Sprintf("@u%d:%s", i, server)))
			}
			b.ResetTimer()
			for i := range b.N {
				join(b, r, room, matrix.UserID(fmt.Sprintf("@late%d:%s", i, server)))
			}
		})
	}
}
