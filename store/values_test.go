package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

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

// placed is a key whose shard is 255 where it is short, and else 7.
type placed string

func (p placed) Shard() int64 {
	if len(p) < 4 {
		return 255
	}
	return 7
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
			{`(255, name) IN {KEYED $1}`, store.Keyed([]placed{"NULL", "one", "absent"}), []int64{1}},
			{`(7, name) IN {KEYED $1}`, store.Keyed([]placed{"NULL", "one"}), []int64{1 << 60}},
			{`(7, name) IN {KEYED $1}`, store.Keyed([]placed(nil)), nil},
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
