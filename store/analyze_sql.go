package store

import (
	"context"
	"fmt"
)

// Analyze has PostgreSQL look anew at tables that have just grown much: until it does so by itself, which is after a
// minute, its plans are those for what was there before. SQLite's do not depend on that.
func (db *DB) Analyze(ctx context.Context, tables ...string) error {
	if db.Engine() == "sqlite" {
		return nil
	}
	return db.Update(ctx, func(tx *Tx) error {
		for _, t := range tables {
			if _, err := tx.Exec(`ANALYZE ` + t); err != nil {
				return fmt.Errorf("analyze %s: %w", t, err)
			}
		}
		return nil
	})
}
