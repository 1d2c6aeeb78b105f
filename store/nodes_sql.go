package store

import (
	"context"
	"fmt"
	"time"
)

// Node is a running instance of this server. The times are milliseconds by the clock of the database.
type Node struct {
	Name    string
	Address string // where clients reach this node directly, or empty
	Version string
	Started int64
	Seen    int64
}

// nodesKept is how long a node that said no more is remembered.
const nodesKept = 24 * time.Hour

// Join says that a node has started, and forgets those that were not seen for a day.
func (db *DB) Join(ctx context.Context, n Node) error {
	err := db.Update(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(`DELETE FROM nodes WHERE seen < {NOW} - $1`, nodesKept.Milliseconds()); err != nil {
			return err
		}
		_, err := tx.Exec(`
			INSERT INTO nodes (node, address, version, started, seen) VALUES ($1, $2, $3, {NOW}, {NOW})
			ON CONFLICT (node) DO UPDATE SET address = excluded.address, version = excluded.version,
				started = excluded.started, seen = excluded.seen`, n.Name, n.Address, n.Version)
		return err
	})
	if err != nil {
		return fmt.Errorf("join as node %s: %w", n.Name, err)
	}
	return nil
}

// Beat says that a node lives, and is false when it was forgotten: then it joins again.
func (db *DB) Beat(ctx context.Context, node string) (known bool, err error) {
	err = db.Update(ctx, func(tx *Tx) error {
		n, err := tx.Exec(`UPDATE nodes SET seen = {NOW} WHERE node = $1`, node)
		known = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("beat of node %s: %w", node, err)
	}
	return known, nil
}

// Leave says that a node ends.
func (db *DB) Leave(ctx context.Context, node string) error {
	err := db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`DELETE FROM nodes WHERE node = $1`, node)
		return err
	})
	if err != nil {
		return fmt.Errorf("leave of node %s: %w", node, err)
	}
	return nil
}

// Nodes gives the nodes that were seen within a time, by name.
func (tx *Tx) Nodes(within time.Duration) ([]Node, error) {
	return Select(tx, func(r Row) (n Node, err error) {
		err = r.Scan(&n.Name, &n.Address, &n.Version, &n.Started, &n.Seen)
		return n, err
	}, `SELECT node, address, version, started, seen FROM nodes WHERE seen >= {NOW} - $1 ORDER BY node`, within.Milliseconds())
}
