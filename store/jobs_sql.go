package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"astrocyte/bus"
)

// Job is work to be done outside of the transaction that asked for it, at least once.
type Job struct {
	// Kind says who does it.
	Kind string
	// Key says what it is about. There is one job of a kind and key: asking again before it ran asks once,
	// with the newer payload; asking while it runs makes it run once more.
	Key     string
	Payload []byte
	// Delay is how long it waits at least, from when it is asked for.
	Delay time.Duration
	// Attempts counts the runs, this one included, since it was asked for.
	Attempts int

	claim int64 // of this run
	asked int64 // as of this run
}

// Enqueue asks for a job, in the transaction that makes it necessary.
func (tx *Tx) Enqueue(j Job) error {
	_, err := tx.Exec(`
		INSERT INTO jobs (kind, key, payload, run_at, asked, attempts, claim, failure)
		VALUES ($1, $2, $3, {NOW} + $4, 1, 0, 0, '')
		ON CONFLICT (kind, key) DO UPDATE SET payload = excluded.payload, asked = jobs.asked + 1,
			run_at = CASE WHEN jobs.claim = 0 AND jobs.attempts = 0 AND jobs.run_at > excluded.run_at
				THEN excluded.run_at ELSE jobs.run_at END`,
		j.Kind, j.Key, j.Payload, j.Delay.Milliseconds())
	if err != nil {
		return fmt.Errorf("enqueue job %s: %w", j.Kind, err)
	}
	tx.Announce(bus.Change{Kind: bus.Job, Key: j.Kind})
	return nil
}

// Withdraw takes a job back that does not run: what it was asked for is done.
func (tx *Tx) Withdraw(kind, key string) error {
	_, err := tx.Exec(`DELETE FROM jobs WHERE kind = $1 AND key = $2 AND claim = 0`, kind, key)
	if err != nil {
		return fmt.Errorf("withdraw job %s: %w", kind, err)
	}
	return nil
}

// claimJobs takes up to n due jobs of a kind. Another may take them when the term is over.
func (db *DB) claimJobs(ctx context.Context, kind string, n int, term time.Duration) (claimed []Job, err error) {
	claim := rand.Int64N(1<<62) + 1
	err = db.Update(ctx, func(tx *Tx) error {
		claimed, err = Select(tx, func(r Row) (Job, error) {
			j := Job{Kind: kind, claim: claim}
			err := r.Scan(&j.Key, &j.Payload, &j.asked, &j.Attempts)
			j.Attempts++
			return j, err
		}, `SELECT key, payload, asked, attempts FROM jobs WHERE kind = $1 AND run_at <= {NOW}
			ORDER BY run_at LIMIT $2 {SKIP LOCKED}`, kind, n)
		if err != nil || len(claimed) == 0 {
			return err
		}
		keys := make([]string, len(claimed))
		for i, j := range claimed {
			keys[i] = j.Key
		}
		_, err := tx.Exec(`UPDATE jobs SET run_at = {NOW} + $1, attempts = attempts + 1, claim = $2
			WHERE kind = $3 AND key {IN $4 TEXT}`, term.Milliseconds(), claim, kind, List(keys))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim jobs %s: %w", kind, err)
	}
	return claimed, nil
}

// keepJob keeps a claimed job for another term; false where the claim is over.
func (db *DB) keepJob(ctx context.Context, j Job, term time.Duration) (held bool, err error) {
	err = db.Update(ctx, func(tx *Tx) error {
		n, err := tx.Exec(`UPDATE jobs SET run_at = {NOW} + $1 WHERE kind = $2 AND key = $3 AND claim = $4`, term.Milliseconds(), j.Kind, j.Key, j.claim)
		held = n == 1
		return err
	})
	return held, err
}

// freeJobs gives back what a process had claimed that is no more.
func (db *DB) freeJobs(ctx context.Context) error {
	err := db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE jobs SET run_at = {NOW}, claim = 0 WHERE claim <> 0`)
		return err
	})
	if err != nil {
		return fmt.Errorf("give back the jobs of the process before: %w", err)
	}
	return nil
}

// nextJob says how long it is until a job of a kind is due, and false if there is none.
func (db *DB) nextJob(ctx context.Context, kind string) (wait time.Duration, any bool, err error) {
	err = db.View(ctx, func(tx *Tx) error {
		ms, found, err := One(tx, scanInt, `SELECT run_at - {NOW} FROM jobs WHERE kind = $1 ORDER BY run_at LIMIT 1`, kind)
		wait, any = time.Duration(ms)*time.Millisecond, found
		return err
	})
	return wait, any, err
}

// Finish says that a job is done. A handler may call it in the transaction of its last write, which makes
// the two one; what it leaves undone is done after it.
func (tx *Tx) Finish(j Job) error {
	n, err := tx.Exec(`DELETE FROM jobs WHERE kind = $1 AND key = $2 AND claim = $3 AND asked = $4`, j.Kind, j.Key, j.claim, j.asked)
	if err != nil || n > 0 {
		return err
	}
	// It was asked for again meanwhile, or the claim is lost, and then nothing is to be done.
	_, err = tx.Exec(`UPDATE jobs SET run_at = {NOW}, attempts = 0, claim = 0, failure = '' WHERE kind = $1 AND key = $2 AND claim = $3`,
		j.Kind, j.Key, j.claim)
	tx.Announce(bus.Change{Kind: bus.Job, Key: j.Kind})
	return err
}

// Postpone lets a job come again after a delay, in a transaction of its handler, which then has done what could be
// done now. What was asked for meanwhile comes at once.
func (tx *Tx) Postpone(j Job, delay time.Duration) error {
	_, err := tx.Exec(`
		UPDATE jobs SET run_at = {NOW} + $1, attempts = 0, claim = 0, failure = '' WHERE kind = $2 AND key = $3 AND claim = $4 AND asked = $5`,
		delay.Milliseconds(), j.Kind, j.Key, j.claim, j.asked)
	if err != nil {
		return fmt.Errorf("postpone job %s: %w", j.Kind, err)
	}
	return nil
}

// retryJob makes a job due again after a delay, and keeps what went wrong.
func (db *DB) retryJob(ctx context.Context, j Job, delay time.Duration, failure string) error {
	return db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE jobs SET run_at = {NOW} + $1, claim = 0, failure = $2 WHERE kind = $3 AND key = $4 AND claim = $5`,
			delay.Milliseconds(), failure, j.Kind, j.Key, j.claim)
		return err
	})
}
