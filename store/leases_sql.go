package store

import (
	"context"
	"fmt"
	"time"
)

// Lease is the right of one node to do a thing alone, until it expires by the clock of the database.
type Lease struct {
	Name string
	Node string
	// Term tells this holding from every earlier one of the same name.
	Term int64
}

// Acquire takes a lease for a time, unless another node holds it. A node that holds it already gets it for
// the time again, with the same term.
func (db *DB) Acquire(ctx context.Context, name, node string, ttl time.Duration) (l Lease, ok bool, err error) {
	err = db.Update(ctx, func(tx *Tx) error {
		l = Lease{Name: name, Node: node}
		l.Term, ok, err = One(tx, scanInt, `
			INSERT INTO leases (name, node, expires, term) VALUES ($1, $2, {NOW} + $3, 1)
			ON CONFLICT (name) DO UPDATE SET
				node = excluded.node,
				expires = excluded.expires,
				term = leases.term + CASE WHEN leases.node = excluded.node AND leases.expires > {NOW} THEN 0 ELSE 1 END
			WHERE leases.node = excluded.node OR leases.expires <= {NOW}
			RETURNING term`, name, node, ttl.Milliseconds())
		return err
	})
	if err != nil {
		return Lease{}, false, fmt.Errorf("acquire lease %s: %w", name, err)
	}
	return l, ok, nil
}

// Renew prolongs a lease, and is false when it is no longer held.
func (db *DB) Renew(ctx context.Context, l Lease, ttl time.Duration) (held bool, err error) {
	err = db.Update(ctx, func(tx *Tx) error {
		n, err := tx.Exec(`UPDATE leases SET expires = {NOW} + $1 WHERE name = $2 AND node = $3 AND term = $4 AND expires > {NOW}`,
			ttl.Milliseconds(), l.Name, l.Node, l.Term)
		held = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("renew lease %s: %w", l.Name, err)
	}
	return held, nil
}

// Release gives a lease back, so that another node need not wait for its end.
func (db *DB) Release(ctx context.Context, l Lease) error {
	err := db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE leases SET expires = 0 WHERE name = $1 AND node = $2 AND term = $3`, l.Name, l.Node, l.Term)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}

// Holds says whether the lease is held, and keeps it from being taken until the transaction ends: what is
// written under it cannot mix with the writes of another holder.
func (tx *Tx) Holds(l Lease) (bool, error) {
	_, held, err := One(tx, scanInt, `
		SELECT term FROM leases WHERE name = $1 AND node = $2 AND term = $3 AND expires > {NOW} {FOR UPDATE}`,
		l.Name, l.Node, l.Term)
	return held, err
}

// Alone runs fn whenever this node holds the lease, and tries to get it otherwise, until the context ends.
// The context of fn ends when the lease is lost, or cannot be renewed in time; fn is waited for. When fn
// returns by itself the lease is released and asked for again after a pause.
func (db *DB) Alone(ctx context.Context, name, node string, ttl time.Duration, fn func(ctx context.Context, l Lease) error) error {
	for {
		began := time.Now()
		l, ok, err := db.Acquire(ctx, name, node, ttl)
		if err == nil && ok {
			err = db.hold(ctx, l, ttl, began, fn)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			db.log.Warn("store: work under a lease ended", "lease", name, "err", err)
		}
		if !waitFor(ctx, ttl/3) {
			return nil
		}
	}
}

// hold runs fn and renews the lease meanwhile, which was asked for at a time: it is not ours for longer than from there on.
func (db *DB) hold(ctx context.Context, l Lease, ttl time.Duration, asked time.Time, fn func(ctx context.Context, l Lease) error) error {
	held, lose := context.WithCancel(ctx)
	defer lose()
	done := make(chan error, 1)
	go func() { done <- fn(held, l) }()
	ends := asked.Add(ttl)
	tick := time.NewTicker(ttl / 3)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			db.releaseQuietly(ctx, l)
			return err
		case <-ctx.Done():
			err := <-done
			db.releaseQuietly(ctx, l)
			return err
		case <-tick.C:
			began := time.Now()
			try, cancel := context.WithDeadline(ctx, ends)
			ok, err := db.Renew(try, l, ttl)
			cancel()
			switch {
			case ok:
				ends = began.Add(ttl)
			case err == nil || time.Now().Add(ttl/3).After(ends):
				lose()
				return <-done
			}
		}
	}
}

// releaseQuietly releases also when the context has ended. If it fails the lease ends by itself.
func (db *DB) releaseQuietly(ctx context.Context, l Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := db.Release(ctx, l); err != nil {
		db.log.Debug("store: lease not released", "lease", l.Name, "err", err)
	}
}

// waitFor is false when the context ends before.
func waitFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
