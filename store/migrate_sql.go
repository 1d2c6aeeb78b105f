package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed schema/*.sql
var schema embed.FS

// migration is one numbered step of the schema.
type migration struct {
	number   int64
	name     string
	text     string
	checksum string
}

// migrations reads the embedded steps.
func migrations() fs.FS { return schema }

// readMigrations reads schema/NNNN_name.sql in the order of their numbers. Where a step has a part that
// only one engine understands it stands in NNNN_name.engine.sql, and follows.
func readMigrations(files fs.FS, engine string) ([]migration, error) {
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, name := range names {
		if strings.Count(path.Base(name), ".") > 1 {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		own, err := fs.ReadFile(files, strings.TrimSuffix(name, ".sql")+"."+engine+".sql")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		text = append(text, own...)
		number, _, _ := strings.Cut(path.Base(name), "_")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s: the name does not begin with a number", name)
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{n, path.Base(name), string(text), hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(all, func(a, b migration) int { return cmp.Compare(a.number, b.number) })
	for i := 1; i < len(all); i++ {
		if all[i].number == all[i-1].number {
			return nil, fmt.Errorf("%s and %s have the same number", all[i-1].name, all[i].name)
		}
	}
	return all, nil
}

// migrate brings the schema up to date, each step in a transaction of its own. Several nodes may do so at
// the same time: each step locks the table of steps and looks whether it is still to be done. Steps that
// this program does not know are a newer version's, beside which it can run.
func (db *DB) migrate(ctx context.Context, files fs.FS) error {
	all, err := readMigrations(files, db.Engine())
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	// PostgreSQL's IF NOT EXISTS does not hold against another node that creates it at the same time: that
	// ends as a duplicate row of its catalogue, type or table, whichever it meets first.
	for try := 1; ; try++ {
		err := db.Update(ctx, createMigrations)
		if err == nil {
			break
		}
		if try == attempts || !isMadeByAnother(err) || !pause(ctx, try) {
			return fmt.Errorf("create the table of migrations: %w", err)
		}
	}
	for _, m := range all {
		if err := db.Update(ctx, func(tx *Tx) error { return applyOnce(tx, m) }); err != nil {
			return fmt.Errorf("migrate to %s: %w", m.name, err)
		}
	}
	if s, ok := db.engine.(*sqliteDB); ok {
		return db.View(ctx, func(tx *Tx) error { return loadNumbers(tx, &s.numbers) })
	}
	return nil
}

// createMigrations makes the table that says which steps were done. Written by store.
func createMigrations(tx *Tx) error {
	if tx.c.dialect == &postgresDialect {
		encoding, _, err := One(tx, func(r Row) (s string, err error) {
			err = r.Scan(&s)
			return s, err
		}, `SELECT CAST(current_setting('server_encoding') AS TEXT)`)
		if err == nil && encoding != "UTF8" {
			err = fmt.Errorf("%w: its encoding is %s, not UTF8", ErrSchema, encoding)
		}
		if err != nil {
			return err
		}
	}
	return tx.script(`CREATE TABLE IF NOT EXISTS migrations (
		number   {INT8} PRIMARY KEY,
		name     {TEXT} NOT NULL,
		checksum {TEXT} NOT NULL, -- SHA-256 of its text
		applied  {INT8} NOT NULL
	)`)
}

// applyOnce applies a step that is not applied yet, and refuses one that was applied with another text.
func applyOnce(tx *Tx, m migration) error {
	if tx.c.dialect == &postgresDialect { // SQLite's writer is alone
		if err := tx.script(`LOCK TABLE migrations IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
	}
	applied, found, err := One(tx, func(r Row) (s string, err error) {
		err = r.Scan(&s)
		return s, err
	}, `SELECT checksum FROM migrations WHERE number = $1`, m.number)
	switch {
	case err != nil:
		return err
	case found && applied != m.checksum:
		return fmt.Errorf("%w: it was made with another text of %s", ErrSchema, m.name)
	case found:
		return nil
	}
	if err := tx.script(m.text); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO migrations (number, name, checksum, applied) VALUES ($1, $2, $3, {NOW})`,
		m.number, m.name, m.checksum)
	return err
}

// script runs the statements of a text one by one, without keeping them prepared.
func (tx *Tx) script(text string) error {
	statements, err := tx.c.dialect.statements(text)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if err := tx.ready(); err != nil {
			return err
		}
		if err := tx.failed(tx.c.script(context.Background(), s), s); err != nil {
			return err
		}
	}
	return nil
}

// loadNumbers reads up to where numbers have been given out.
func loadNumbers(tx *Tx, n *numbers) error {
	file := make(map[string]int64)
	err := Each(tx, func(r Row) error {
		var name string
		var taken int64
		if err := r.Scan(&name, &taken); err != nil {
			return err
		}
		file[name] = taken
		return nil
	}, `SELECT name, taken FROM counters`)
	n.load(file)
	return err
}
