package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

// things makes a table for tests.
func things(t testing.TB, db *store.DB) {
	t.Helper()
	strict := ""
	if db.Engine() == "sqlite" {
		strict = " STRICT" // as the migrations make tables
	}
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.Exec(`CREATE TABLE things (id {INT8} PRIMARY KEY, name {TEXT} NOT NULL, body {BYTES})` + strict)
		return err
	})
}

func add(tx *store.Tx, id int64) error {
	_, err := tx.Exec(`INSERT INTO things (id, name) VALUES ($1, $2)`, id, fmt.Sprint("thing ", id))
	return err
}

func update(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func scanInt(r store.Row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}

func scanText(r store.Row) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// ids gives the ids of all things.
func ids(t testing.TB, db *store.DB) (all []int64) {
	t.Helper()
	view(t, db, func(tx *store.Tx) (err error) {
		all, err = store.Select(tx, scanInt, `SELECT id FROM things ORDER BY id`)
		return err
	})
	return all
}

// both runs a test on both engines, with a database that has a table of things.
func both(t *testing.T, test func(t *testing.T, db *store.DB)) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		things(t, db)
		test(t, db)
	})
}

func TestFailingFunctionAloneFails(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		refused := errors.New("refused")
		var wg sync.WaitGroup
		for i := range int64(200) {
			wg.Go(func() {
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					if err := add(tx, i); err != nil {
						return err
					}
					if i%3 == 0 {
						return refused
					}
					return nil
				})
				if want := i%3 == 0; errors.Is(err, refused) != want || (err != nil) != want {
					t.Errorf("thing %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		var want []int64
		for i := range int64(200) {
			if i%3 != 0 {
				want = append(want, i)
			}
		}
		if got := ids(t, db); !slices.Equal(got, want) {
			t.Errorf("have %v", got)
		}
	})
}

// A function that panics or ends its goroutine does it on its caller's goroutine, undoes its own writes
// and nobody else's, and leaves the database usable.
func TestPanicAndExitAloneFail(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		var wg sync.WaitGroup
		for i := range int64(90) {
			wg.Go(func() {
				defer func() {
					if p := recover(); (p != nil) != (i%3 == 0) {
						t.Errorf("thing %d: recovered %v", i, p)
					}
				}()
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					if err := add(tx, i); err != nil {
						return err
					}
					switch i % 3 {
					case 0:
						panic("a mistake")
					case 1:
						runtime.Goexit()
					}
					return nil
				})
				if err != nil {
					t.Errorf("thing %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if got := ids(t, db); len(got) != 30 || slices.ContainsFunc(got, func(id int64) bool { return id%3 != 2 }) {
			t.Errorf("have %v", got)
		}
	})
}

func TestRollbackTakesEverythingBack(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		ran := false
		refused := errors.New("refused")
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.NextPos(3); err != nil {
				return err
			}
			tx.AfterCommit(func() { ran = true })
			tx.Announce(bus.Change{Kind: bus.Room, Key: "1"})
			return errors.Join(add(tx, 1), refused)
		})
		if !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if ran {
			t.Error("AfterCommit ran without a commit")
		}
		if got := ids(t, db); len(got) != 0 {
			t.Errorf("have %v", got)
		}
		view(t, db, func(tx *store.Tx) error {
			if pos, err := tx.Pos(); err != nil || pos != 0 {
				t.Errorf("the position is %d, %v", pos, err)
			}
			return nil
		})
	})
}

func TestAnnouncedAfterCommit(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		news := bus.NewLocal()
		db := testkit.Open(t, store.Options{DSN: dsn, Bus: news})
		things(t, db)
		sub := news.Subscribe()
		defer sub.Close()
		refused := errors.New("refused")
		var wg sync.WaitGroup
		for i := range int64(50) {
			wg.Go(func() {
				_ = db.Update(context.Background(), func(tx *store.Tx) error {
					tx.Announce(bus.Change{Kind: bus.Room, Pos: i})
					if i%2 == 0 {
						return refused
					}
					return add(tx, i)
				})
			})
		}
		var heard []int64
		for range 25 {
			c := <-sub.C
			heard = append(heard, c.Pos)
			if !slices.Contains(ids(t, db), c.Pos) {
				t.Errorf("%d was announced before it was there", c.Pos)
			}
		}
		wg.Wait()
		select {
		case c := <-sub.C:
			t.Errorf("also announced: %v", c)
		default:
		}
		slices.Sort(heard)
		if want := ids(t, db); !slices.Equal(heard, want) {
			t.Errorf("heard %v, want %v", heard, want)
		}
	})
}

func TestFailedStatementEndsTransaction(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			if err := add(tx, 2); err != nil {
				return err
			}
			first := add(tx, 1)
			if first == nil {
				t.Error("a key was inserted twice")
			}
			if second := add(tx, 3); !errors.Is(second, first) {
				t.Errorf("the next statement said %v", second)
			}
			return nil // swallowed
		})
		if err == nil || !strings.Contains(err.Error(), "INSERT INTO things") || !store.IsDuplicate(err) {
			t.Errorf("Update said %v", err)
		}
		if got := ids(t, db); !slices.Equal(got, []int64{1}) {
			t.Errorf("have %v", got)
		}
	})
}

func TestMisuseIsRefused(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
		var kept *store.Tx
		err := db.View(t.Context(), func(tx *store.Tx) error {
			kept = tx
			if err := add(tx, 2); err == nil {
				t.Error("a View wrote")
			}
			if _, err := tx.NextPos(1); err == nil {
				t.Error("a View took a position")
			}
			_, err := store.Select(tx, func(r store.Row) (int64, error) {
				_, err := tx.Pos()
				return 0, err
			}, `SELECT id FROM things`)
			return err
		})
		if err == nil {
			t.Error("a statement ran while rows were read")
		}
		if _, err := kept.Pos(); err == nil {
			t.Error("a Tx was used after its end")
		}
		// PostgreSQL itself refuses a write that comes in a reading transaction as a query.
		err = db.View(t.Context(), func(tx *store.Tx) error {
			_, _, err := store.One(tx, scanInt, `INSERT INTO things (id, name) VALUES (9, 'nine') RETURNING id`)
			return err
		})
		if err == nil {
			t.Error("a View wrote by a query")
		}
		if _, _, err := one(db, `SELECT id FROM things WHERE id = $2`, 1); err == nil {
			t.Error("a missing argument was not missed")
		}
		if _, _, err := one(db, `SELECT id FROM things WHERE id = $1`, 1, 2); err == nil {
			t.Error("an argument too many was not noticed")
		}
		if got := ids(t, db); !slices.Equal(got, []int64{1}) {
			t.Errorf("have %v", got)
		}
	})
}

func one(db *store.DB, query string, args ...any) (n int64, found bool, err error) {
	err = db.View(context.Background(), func(tx *store.Tx) error {
		n, found, err = store.One(tx, scanInt, query, args...)
		return err
	})
	return n, found, err
}

func TestViewIsOfOneMoment(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error { return add(tx, 1) })
		view(t, db, func(tx *store.Tx) error {
			count := func() int64 {
				n, _, err := store.One(tx, scanInt, `SELECT COUNT(*) FROM things`)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			before := count()
			update(t, db, func(tx *store.Tx) error { return add(tx, 2) })
			if after := count(); after != before {
				t.Errorf("a View saw %d things, then %d", before, after)
			}
			return nil
		})
		if got := ids(t, db); !slices.Equal(got, []int64{1, 2}) {
			t.Errorf("a later View sees %v", got)
		}
	})
}

func TestContextEnds(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := db.Update(gone, func(tx *store.Tx) error { return add(tx, 1) }); !errors.Is(err, context.Canceled) {
			t.Errorf("Update with an ended context said %v", err)
		}
		if err := db.View(gone, func(tx *store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("View with an ended context said %v", err)
		}
		// It ends between two statements.
		mid, cancel := context.WithCancel(t.Context())
		err := db.Update(mid, func(tx *store.Tx) error {
			if err := add(tx, 2); err != nil {
				return err
			}
			cancel()
			return add(tx, 3)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Update whose context ended said %v", err)
		}
		// It ends while the turn, or a row, is somebody else's.
		started, finish := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			update(t, db, func(tx *store.Tx) error {
				_, err := tx.NextPos(1)
				close(started)
				<-finish
				return err
			})
		})
		<-started
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err = db.Update(short, func(tx *store.Tx) error {
			_, err := tx.NextPos(1)
			return err
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update that waited too long said %v", err)
		}
		close(finish)
		wg.Wait()
		if got := ids(t, db); len(got) != 0 {
			t.Errorf("have %v", got)
		}
		update(t, db, func(tx *store.Tx) error {
			if pos, err := tx.Pos(); err != nil || pos != 1 {
				t.Errorf("the position is %d, %v", pos, err)
			}
			return nil
		})
	})
}

// The types of the domain are stored and read as they are.
func TestValues(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		type nid int64
		raw := json.RawMessage(`{"a":1}`)
		text := "there"
		update(t, db, func(tx *store.Tx) error {
			for _, row := range []struct{ id, name, body any }{
				{nid(1), matrix.UserID("@a:b"), raw},
				{2, "nil bytes", []byte(nil)},
				{int64(3), "no bytes", []byte{}},
				{4, "NULL", nil},
			} {
				if _, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, $2, $3)`, row.id, row.name, row.body); err != nil {
					return err
				}
			}
			_, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, $2, $3)`, false, &text, (*[]byte)(nil))
			return err
		})
		view(t, db, func(tx *store.Tx) error {
			type all struct {
				id   nid
				name matrix.UserID
				body json.RawMessage
			}
			got, err := store.Select(tx, func(r store.Row) (a all, err error) {
				err = r.Scan(&a.id, &a.name, &a.body)
				return a, err
			}, `SELECT id, name, body FROM things ORDER BY id`)
			want := []all{{0, "there", nil}, {1, "@a:b", raw}, {2, "nil bytes", []byte{}}, {3, "no bytes", []byte{}}, {4, "NULL", nil}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read %#v", got)
			}
			if err != nil {
				return err
			}
			nulls, err := store.Select(tx, scanInt, `SELECT id FROM things WHERE body IS NULL ORDER BY id`)
			if !slices.Equal(nulls, []int64{0, 4}) {
				t.Errorf("NULL are %v", nulls)
			}
			if err != nil {
				return err
			}
			var sum int64
			var yes bool
			var none, some *int64
			_, found, err := store.One(tx, func(r store.Row) (int, error) {
				return 0, r.Scan(&sum, &yes, &none, &some)
			}, `SELECT SUM(id), EXISTS (SELECT 1 FROM things), CAST(NULL AS {INT8}), MAX(id) FROM things`)
			if !found || sum != 10 || !yes || none != nil || some == nil || *some != 4 {
				t.Errorf("sum %d, exists %v, none %v, some %v", sum, yes, none, some)
			}
			return err
		})
		for _, bad := range []struct {
			why         string
			name, bytes any
		}{{"NULL", nil, nil}, {"a map", map[string]int{}, nil}, {"a list of numbers", "x", []int{5}}} {
			if err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, $2, $3)`, 77, bad.name, bad.bytes)
				return err
			}); err == nil {
				t.Errorf("%s was stored", bad.why)
			}
		}
		for _, text := range []string{"nul\x00", "half \xff"} {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`INSERT INTO things (id, name) VALUES ($1, $2)`, 78, matrix.RoomID(text))
				return err
			})
			var refused *matrix.Error
			if !errors.As(err, &refused) {
				t.Errorf("%q: %v", text, err)
			}
		}
		if _, _, err := one(db, `SELECT name FROM things WHERE id = 2`); err == nil {
			t.Error("text was read as a number")
		}
		if _, _, err := one(db, `SELECT CAST(NULL AS {INT8})`); err == nil {
			t.Error("NULL was read as a number")
		}
	})
}

// What Scan wrote stays, although the driver reuses its buffers.
func TestScannedBytesAreOwn(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error {
			for i := range 20 {
				body := []byte(strings.Repeat(string(rune('a'+i)), 10+i*100))
				if _, err := tx.Exec(`INSERT INTO things (id, name, body) VALUES ($1, $2, $3)`, i, "x", body); err != nil {
					return err
				}
			}
			return nil
		})
		var bodies [][]byte
		view(t, db, func(tx *store.Tx) (err error) {
			bodies, err = store.Select(tx, func(r store.Row) (b []byte, err error) {
				err = r.Scan(&b)
				return b, err
			}, `SELECT body FROM things ORDER BY id`)
			return err
		})
		for i, b := range bodies {
			if want := strings.Repeat(string(rune('a'+i)), 10+i*100); string(b) != want {
				t.Errorf("body %d is %.20q…, want %.20q…", i, b, want)
			}
		}
	})
}

func TestTextIsOrderedByBytes(t *testing.T) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		names := []string{"Z", "a", "B", "é", "_", "z"}
		update(t, db, func(tx *store.Tx) error {
			for _, n := range names {
				if err := tx.Enqueue(store.Job{Kind: "order", Key: n}); err != nil {
					return err
				}
			}
			return nil
		})
		slices.Sort(names)
		view(t, db, func(tx *store.Tx) error {
			got, err := store.Select(tx, scanText, `SELECT key FROM jobs ORDER BY key`)
			if !slices.Equal(got, names) {
				t.Errorf("got %v", got)
			}
			return err
		})
	})
}

func TestList(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		odd := "it's \"odd\" \\ {x} \n é NULL"
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.Bulk(store.Bulk{Table: "things", Columns: []string{"id", "name", "body"}, Rows: [][]any{
				{1, "one", []byte{1}}, {2, odd, []byte{0, 255}}, {3, "", []byte{}}, {1 << 60, "NULL", nil},
			}})
			return err
		})
		for _, c := range []struct {
			query string
			list  any
			want  []int64
		}{
			{`id {IN $1 INT8}`, store.List([]int64{1, 3, 99, 1 << 60}), []int64{1, 3, 1 << 60}},
			{`id {IN $1 INT8}`, store.List([]int64{}), nil},
			{`id {IN $1 INT8}`, store.List[int64](nil), nil},
			{`id {IN $1 INT8}`, store.List([]time.Duration{2}), []int64{2}},
			{`NOT id {IN $1 INT8}`, store.List([]int{1, 2}), []int64{3, 1 << 60}},
			{`name {IN $1 TEXT}`, store.List([]string{odd, "", "absent"}), []int64{2, 3}},
			{`name {IN $1 TEXT}`, store.List([]matrix.UserID{"NULL"}), []int64{1 << 60}},
			{`body {IN $1 BYTES}`, store.List([][]byte{{0, 255}, {}, {7}}), []int64{2, 3}},
		} {
			view(t, db, func(tx *store.Tx) error {
				got, err := store.Select(tx, scanInt, `SELECT id FROM things WHERE `+c.query+` ORDER BY id`, c.list)
				if !slices.Equal(got, c.want) {
					t.Errorf("%s with %v: %v", c.query, c.list, got)
				}
				return err
			})
		}
		if _, _, err := one(db, `SELECT id FROM things WHERE id {IN $1 INT8}`, store.List([]float64{1})); err == nil {
			t.Error("a list of float64 was taken")
		}
	})
}

func TestBulk(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		const n = 20_000
		columns := []string{"id", "name", "body"}
		rows := make([][]any, n)
		for i := range rows {
			var body any
			if i%2 == 1 {
				body = []byte(fmt.Sprint("body ", i))
			}
			rows[i] = []any{i, matrix.RoomID(fmt.Sprint("!", i)), body}
		}
		bulk := func(b store.Bulk) (n int64, err error) {
			err = db.Update(t.Context(), func(tx *store.Tx) error {
				n, err = tx.Bulk(b)
				return err
			})
			return n, err
		}
		if got, err := bulk(store.Bulk{Table: "things", Columns: columns, Rows: rows}); got != n || err != nil {
			t.Fatalf("inserted %d, %v", got, err)
		}
		if got := ids(t, db); len(got) != n || got[n-1] != n-1 {
			t.Fatalf("have %d", len(got))
		}
		if got, _, err := one(db, `SELECT COUNT(*) FROM things WHERE body IS NULL`); got != n/2 || err != nil {
			t.Errorf("%d without a body, %v", got, err)
		}
		again := store.Bulk{Table: "things", Columns: columns, Rows: [][]any{{1, "new", nil}, {n, "new", nil}}}
		again.OnConflict = `ON CONFLICT (id) DO NOTHING`
		if got, err := bulk(again); got != 1 || err != nil {
			t.Errorf("inserted %d, %v", got, err)
		}
		again.OnConflict = `ON CONFLICT (id) DO UPDATE SET name = excluded.name, body = excluded.body WHERE things.name <> excluded.name`
		if got, err := bulk(again); got != 1 || err != nil {
			t.Errorf("changed %d, %v", got, err)
		}
		if got, _, err := one(db, `SELECT COUNT(*) FROM things WHERE name = 'new' AND body IS NULL`); got != 2 || err != nil {
			t.Errorf("%d are new, %v", got, err)
		}
		if got, err := bulk(store.Bulk{Table: "things", Columns: columns}); got != 0 || err != nil {
			t.Errorf("no rows: %d, %v", got, err)
		}
		for why, b := range map[string]store.Bulk{
			"a short row":         {Table: "things", Columns: columns, Rows: [][]any{{5 * n, "x"}}},
			"a key that is there": {Table: "things", Columns: columns, Rows: [][]any{{5 * n, "x", nil}, {1, "x", nil}}},
			"mixed types":         {Table: "things", Columns: columns, Rows: [][]any{{5 * n, "x", nil}, {"no number", "x", nil}}},
		} {
			if _, err := bulk(b); err == nil {
				t.Errorf("%s was inserted", why)
			}
		}
		if got := ids(t, db); len(got) != n+1 {
			t.Errorf("have %d", len(got))
		}
	})
}
