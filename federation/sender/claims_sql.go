package sender

import (
	"context"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// wanted says which destinations a node would take.
type wanted struct {
	fresh  int                 // of those that are due and were reached last, at most so many
	probes int                 // of those that were not
	named  []matrix.ServerName // and these, due or not, but for those that are left alone
}

// take claims destinations that no other node has.
func (s *Sender) take(ctx context.Context, w wanted) (claims []claim, err error) {
	if due, err := s.anythingDue(ctx); err != nil || !due && len(w.named) == 0 {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		claims = nil
		for _, some := range []struct {
			limit int
			pause string
		}{{w.fresh, `pause = 0`}, {w.probes, `pause > 0`}} {
			found, err := store.Select(tx, scanClaim, `
				SELECT server, pause FROM destinations WHERE due <= {NOW} AND held_until <= {NOW} AND `+some.pause+`
				ORDER BY due LIMIT $1 {SKIP LOCKED}`, int64(some.limit))
			if err != nil {
				return err
			}
			claims = append(claims, found...)
		}
		names := make([]string, len(claims))
		for i, c := range claims {
			names[i] = string(c.server)
		}
		_, err := tx.Exec(`UPDATE destinations SET holder = $1, held_until = {NOW} + $2 WHERE server {IN $3 TEXT}`,
			s.node, claimFor.Milliseconds(), store.List(names))
		if err != nil {
			return err
		}
		named, err := s.takeNamed(tx, w.named)
		claims = append(claims, named...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim destinations: %w", err)
	}
	return claims, nil
}

// takeNamed claims the destinations of some names that are free.
func (s *Sender) takeNamed(tx *store.Tx, servers []matrix.ServerName) ([]claim, error) {
	var claims []claim
	for _, server := range servers {
		c, ok, err := store.One(tx, scanClaim, `
			INSERT INTO destinations (server, due, reached, failing, pause, retry_at, failure, holder, held_until)
			VALUES ($1, $2, 0, 0, 0, 0, '', $3, {NOW} + $4)
			ON CONFLICT (server) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
			WHERE destinations.held_until <= {NOW} AND destinations.retry_at <= {NOW}
			RETURNING server, pause`, string(server), never, s.node, claimFor.Milliseconds())
		if err != nil {
			return nil, err
		}
		if ok {
			claims = append(claims, c)
		}
	}
	return claims, nil
}

func scanClaim(r store.Row) (c claim, err error) {
	var pause int64
	err = r.Scan(&c.server, &pause)
	c.probing = pause > 0
	return c, err
}

// anythingDue says whether a destination is due that no node has.
func (s *Sender) anythingDue(ctx context.Context) (due bool, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		_, due, err = store.One(tx, scanText, `SELECT server FROM destinations WHERE due <= {NOW} AND held_until <= {NOW} LIMIT 1`)
		return err
	})
	return due, err
}

// nextDue says how long it is until a destination is due that no node has.
func (s *Sender) nextDue(ctx context.Context) (wait time.Duration, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		ms, found, err := store.One(tx, scanInt, `
			SELECT due - {NOW} FROM destinations WHERE due < $1 AND held_until <= {NOW} ORDER BY due LIMIT 1`, never)
		if wait = lookEvery; found {
			wait = time.Duration(min(ms, lookEvery.Milliseconds())) * time.Millisecond
		}
		return err
	})
	return wait, err
}

// renew keeps the claims of this node.
func (s *Sender) renew(ctx context.Context, servers []matrix.ServerName) error {
	if len(servers) == 0 {
		return nil
	}
	return s.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE destinations SET held_until = {NOW} + $1 WHERE holder = $2 AND held_until > {NOW} AND server {IN $3 TEXT}`,
			claimFor.Milliseconds(), s.node, store.List(servers))
		return err
	})
}

// disclaim gives back what a process of this name had before.
func (s *Sender) disclaim(ctx context.Context) error {
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE destinations SET held_until = 0 WHERE holder = $1 AND held_until > 0`, s.node)
		return err
	})
	if err != nil {
		return fmt.Errorf("give back old claims: %w", err)
	}
	return nil
}

func scanInt(r store.Row) (n int64, err error) { return n, r.Scan(&n) }

func scanText(r store.Row) (text string, err error) { return text, r.Scan(&text) }
