package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/store"
	"astrocyte/testkit"
)

// engines runs a benchmark on both engines.
func engines(b *testing.B, bench func(b *testing.B, db *store.DB)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, testkit.DB(b, testkit.SQLite(b))) })
	b.Run("postgres", func(b *testing.B) { bench(b, testkit.DB(b, testkit.Postgres(b))) })
}

// BenchmarkCommits64 is 64 writers who each wait for their commit before the next.
func BenchmarkCommits64(b *testing.B) {
	engines(b, func(b *testing.B, db *store.DB) {
		things(b, db)
		commits(b, db, 64, func(tx *store.Tx, id int64) error {
			_, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, $2, $3)`, id, "a thing", make([]byte, 200))
			return err
		})
	})
}

// BenchmarkCommits1 is one writer alone: nothing is gathered.
func BenchmarkCommits1(b *testing.B) {
	engines(b, func(b *testing.B, db *store.DB) {
		things(b, db)
		commits(b, db, 1, func(tx *store.Tx, id int64) error {
			_, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, $2, $3)`, id, "a thing", make([]byte, 200))
			return err
		})
	})
}

// BenchmarkPositions64 is 64 writers who each take a position, whose row only one at a time can have.
func BenchmarkPositions64(b *testing.B) {
	engines(b, func(b *testing.B, db *store.DB) {
		things(b, db)
		commits(b, db, 64, func(tx *store.Tx, id int64) error {
			if _, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, $2, $3)`, id, "a thing", make([]byte, 200)); err != nil {
				return err
			}
			_, err := tx.NextPos(1)
			return err
		})
	})
}

func commits(b *testing.B, db *store.DB, writers int, fn func(tx *store.Tx, id int64) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for {
				id := next.Add(1)
				if id > int64(b.N) {
					return
				}
				if err := db.Update(context.Background(), func(tx *store.Tx) error { return fn(tx, id) }); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

type thing struct {
	id   int64
	name string
	body []byte
}

func scanThing(r store.Row) (t thing, err error) {
	err = r.Scan(&t.id, &t.name, &t.body)
	return t, err
}

// BenchmarkOne is one row by its key: the statement alone, and with the transaction around it.
func BenchmarkOne(b *testing.B) {
	engines(b, func(b *testing.B, db *store.DB) {
		fill(b, db, 10_000)
		one := func(tx *store.Tx, i int) error {
			_, found, err := store.One(tx, scanThing, `SELECT id, name, body FROM things WHERE id = $1`, int64(i%10_000))
			if err == nil && !found {
				b.Error("not found")
			}
			return err
		}
		b.Run("statement", func(b *testing.B) {
			b.ReportAllocs()
			view(b, db, func(tx *store.Tx) error {
				for i := 0; b.Loop(); i++ {
					if err := one(tx, i); err != nil {
						return err
					}
				}
				return nil
			})
		})
		b.Run("view", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				view(b, db, func(tx *store.Tx) error { return one(tx, i) })
			}
		})
	})
}

// BenchmarkSelect100 is 100 rows by a List of their keys.
func BenchmarkSelect100(b *testing.B) {
	engines(b, func(b *testing.B, db *store.DB) {
		fill(b, db, 10_000)
		keys := make([]int64, 100)
		for i := range keys {
			keys[i] = int64(i * 97)
		}
		b.ReportAllocs()
		view(b, db, func(tx *store.Tx) error {
			for b.Loop() {
				all, err := store.Select(tx, scanThing, `SELECT id, name, body FROM things WHERE id {IN $1 INT8}`, store.List(keys))
				if err != nil || len(all) != 100 {
					b.Fatal(len(all), err)
				}
			}
			return nil
		})
	})
}

// BenchmarkBulk1000 is 1000 rows in one insert and one commit.
func BenchmarkBulk1000(b *testing.B) {
	engines(b, func(b *testing.B, db *store.DB) {
		things(b, db)
		next := int64(0)
		b.ReportAllocs()
		for b.Loop() {
			rows := make([][]any, 1000)
			for i := range rows {
				next++
				rows[i] = []any{next, "a thing", make([]byte, 200)}
			}
			update(b, db, func(tx *store.Tx) error {
				_, err := tx.Bulk(store.Bulk{Table: "things", Columns: []string{"id", "name", "body"}, Rows: rows})
				return err
			})
		}
	})
}

func fill(b *testing.B, db *store.DB, n int) {
	things(b, db)
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = []any{i, "a thing", make([]byte, 200)}
	}
	update(b, db, func(tx *store.Tx) error {
		_, err := tx.Bulk(store.Bulk{Table: "things", Columns: []string{"id", "name", "body"}, Rows: rows})
		return err
	})
}

// BenchmarkLatency is 16 writers with a short rest between their commits of 3 KB each, which is enough
// for checkpoints to come between.
func BenchmarkLatency(b *testing.B) {
	engines(b, func(b *testing.B, db *store.DB) {
		things(b, db)
		took := make([]time.Duration, b.N)
		var next atomic.Int64
		var wg sync.WaitGroup
		b.ResetTimer()
		for range 16 {
			wg.Go(func() {
				for {
					id := next.Add(1) - 1
					if id >= int64(b.N) {
						return
					}
					began := time.Now()
					update(b, db, func(tx *store.Tx) error {
						_, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, 'x', $2)`, id*7919%1_000_003, make([]byte, 3000))
						return err
					})
					took[id] = time.Since(began)
					time.Sleep(500 * time.Microsecond)
				}
			})
		}
		wg.Wait()
		slices.Sort(took)
		for _, p := range []float64{50, 99, 99.9, 100} {
			i := min(int(p/100*float64(b.N)), b.N-1)
			b.ReportMetric(float64(took[i].Microseconds()), fmt.Sprint("p", p, "-µs"))
		}
	})
}
