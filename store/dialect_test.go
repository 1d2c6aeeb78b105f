package store

import (
	"slices"
	"strings"
	"testing"
)

func TestRewrite(t *testing.T) {
	for _, c := range []struct {
		name, query, sqlite, postgres string
		order                         []int
	}{
		{"no macro", `SELECT 1`, `SELECT 1`, `SELECT 1`, nil},
		{"placeholders", `SELECT $2, $1, $2`, `SELECT ?, ?, ?`, `SELECT $2, $1, $2`, []int{1, 0, 1}},
		{"types", `CAST($1 AS {INT8}) + CAST($2 AS {TEXT})`, `CAST(? AS INTEGER) + CAST(? AS TEXT)`,
			`CAST($1 AS INT8) + CAST($2 AS TEXT)`, []int{0, 1}},
		{"list", `a {IN $2 INT8} AND b = $1`, `a IN (SELECT value FROM json_each(?)) AND b = ?`,
			`a = ANY(CAST($2 AS INT8[])) AND b = $1`, []int{1, 0}},
		{"lock", `x {SKIP LOCKED} y {FOR UPDATE}`, `x  y `, `x FOR UPDATE SKIP LOCKED y FOR UPDATE`, nil},
		{"quoted", `SELECT '{INT8} $1 it''s -- no', $1`, `SELECT '{INT8} $1 it''s -- no', ?`,
			`SELECT '{INT8} $1 it''s -- no', $1`, []int{0}},
		{"comment", "SELECT 1 -- {INT8} $1\n, 2", "SELECT 1 \n, 2", "SELECT 1 \n, 2", nil},
		{"two digits", `$12`, `?`, `$12`, []int{11}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, order, err := sqliteDialect.rewrite(c.query)
			if err != nil || text != c.sqlite || !slices.Equal(order, c.order) {
				t.Errorf("SQLite: %q %v %v", text, order, err)
			}
			text, order, err = postgresDialect.rewrite(c.query)
			if err != nil || text != c.postgres || order != nil {
				t.Errorf("PostgreSQL: %q %v %v", text, order, err)
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	for _, q := range []string{`{NONE}`, `{INT8`, `SELECT $`, `{IN 1 INT8}`, `{IN $1 FLOAT}`, `{IN $x INT8}`, `{IN $1}`} {
		if text, _, err := sqliteDialect.rewrite(q); err == nil {
			t.Errorf("%q became %q", q, text)
		}
	}
}

func TestStatements(t *testing.T) {
	const text = `-- A table; with a comment.
CREATE TABLE a (
	x {INT8} PRIMARY KEY, -- one; of many
	y {TEXT} NOT NULL DEFAULT ';--'
);
CREATE TABLE b (k {TEXT} PRIMARY KEY, v {BYTES}) {CLUSTERED};

INSERT INTO a (x, y) VALUES (1, 'it''s; here')
`
	for _, c := range []struct {
		dialect *dialect
		want    []string
	}{
		{&sqliteDialect, []string{
			"CREATE TABLE a ( x INTEGER PRIMARY KEY, y TEXT NOT NULL DEFAULT ';--' ) STRICT",
			"CREATE TABLE b (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID, STRICT",
			"INSERT INTO a (x, y) VALUES (1, 'it''s; here')",
		}},
		{&postgresDialect, []string{
			`CREATE TABLE a ( x INT8 PRIMARY KEY, y TEXT COLLATE "C" NOT NULL DEFAULT ';--' )`,
			`CREATE TABLE b (k TEXT COLLATE "C" PRIMARY KEY, v BYTEA)`,
			"INSERT INTO a (x, y) VALUES (1, 'it''s; here')",
		}},
	} {
		got, err := c.dialect.statements(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i] = strings.Join(strings.Fields(got[i]), " ")
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("got\n%s", strings.Join(got, "\n"))
		}
	}
}

// FuzzRewrite: whatever the text, rewriting ends, and what it leaves needs no rewriting of macros.
func FuzzRewrite(f *testing.F) {
	f.Add(`SELECT '{INT8}' -- x`)
	f.Add(`a {IN $1 TEXT} $22 {NOW}`)
	f.Fuzz(func(t *testing.T, query string) {
		if text, order, err := sqliteDialect.rewrite(query); err == nil && !strings.Contains(query, "?") {
			if n := strings.Count(text, "?"); n < len(order) {
				t.Errorf("%q has %d placeholders for %d arguments", text, n, len(order))
			}
		}
		_, _ = postgresDialect.statements(query)
	})
}
