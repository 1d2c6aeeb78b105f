package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/bus"
)

var jobRuns = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "astrocyte_store_job_runs_total",
	Help: "Runs of jobs by kind and result, done or failed.",
}, []string{"kind", "result"})

const (
	// jobsLook is how often workers look by themselves, should the bus lose a change.
	jobsLook = 5 * time.Second
	// jobPatience is how long a run may take where its handler does not say.
	jobPatience = 5 * time.Minute
	// claimTerm is how long a node has a job without saying so again: another node takes over after it from one that died.
	claimTerm = 15 * time.Second
	// backoffLeast and backoffMost bound the wait after a failed run.
	backoffLeast = time.Second
	backoffMost  = time.Hour
	// failureMost bounds what is kept of an error, in bytes.
	failureMost = 500
)

// JobHandler does the jobs of one kind.
type JobHandler struct {
	Kind string
	// Do does one job. An error makes it run again later. As with every job that runs at least once, what it
	// does must be safe to do again.
	Do func(ctx context.Context, j Job) error
	// Parallel bounds how many run at the same time on a node; 0 means 1.
	Parallel int
	// Patience is how long a run may take before its context ends and another node may do it; 0 means 5 minutes.
	// The job of a node that dies is done by another one sooner.
	Patience time.Duration
}

// Jobs does the jobs that were enqueued, on this node and every other that runs one.
type Jobs struct {
	db       *DB
	bus      bus.Bus
	log      *slog.Logger
	handlers []JobHandler
	term     time.Duration // of a claim
}

// NewJobs makes the workers for the kinds of jobs.
func NewJobs(db *DB, handlers ...JobHandler) (*Jobs, error) {
	seen := make(map[string]bool)
	for i := range handlers {
		h := &handlers[i]
		if h.Kind == "" || h.Do == nil || seen[h.Kind] {
			return nil, fmt.Errorf("job kind %q has no name, no function or another handler", h.Kind)
		}
		seen[h.Kind] = true
		h.Parallel = max(h.Parallel, 1)
		if h.Patience <= 0 {
			h.Patience = jobPatience
		}
	}
	return &Jobs{db: db, bus: db.bus, log: db.log, handlers: handlers, term: claimTerm}, nil
}

// Run does jobs until the context ends, and waits for those that run.
func (q *Jobs) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, h := range q.handlers {
		wg.Go(func() { q.work(ctx, h) })
	}
	wg.Wait()
	return nil
}

// work does the jobs of one kind.
func (q *Jobs) work(ctx context.Context, h JobHandler) {
	news := q.bus.Subscribe(bus.Job) // before the looking: what comes between is not missed
	defer news.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ended := make(chan struct{}, h.Parallel)
	running := 0
	for ctx.Err() == nil {
		full, err := q.start(ctx, h, &wg, ended, &running)
		if err != nil && ctx.Err() == nil {
			q.log.Warn("store: jobs", "kind", h.Kind, "err", err)
		}
		timer := time.NewTimer(q.untilNext(ctx, h, full || err != nil))
		q.sleep(ctx, h, news, timer, ended, &running)
		timer.Stop()
	}
}

// start claims as many jobs as may run, and runs them. full says that no more may run.
func (q *Jobs) start(ctx context.Context, h JobHandler, wg *sync.WaitGroup, ended chan struct{}, running *int) (full bool, err error) {
	for *running < h.Parallel {
		claimed, err := q.db.claimJobs(ctx, h.Kind, h.Parallel-*running, min(h.Patience, q.term))
		if err != nil || len(claimed) == 0 {
			return false, err
		}
		for _, j := range claimed {
			*running++
			wg.Go(func() {
				q.runJob(ctx, h, j)
				ended <- struct{}{}
			})
		}
	}
	return true, nil
}

// untilNext is how long to sleep when nothing wakes the workers.
func (q *Jobs) untilNext(ctx context.Context, h JobHandler, blind bool) time.Duration {
	if blind {
		return jobsLook
	}
	wait, found, err := q.db.nextJob(ctx, h.Kind)
	if err != nil || !found {
		return jobsLook
	}
	return min(max(wait, time.Millisecond), jobsLook)
}

// sleep waits until a job was asked for, may be due, or has ended.
func (q *Jobs) sleep(ctx context.Context, h JobHandler, news *bus.Subscription, timer *time.Timer, ended chan struct{}, running *int) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-ended:
			*running--
			return
		case c := <-news.C:
			if c.Kind == bus.Lost || c.Key == h.Kind {
				return
			}
		}
	}
}

// runJob does one job and says how it went.
func (q *Jobs) runJob(ctx context.Context, h JobHandler, j Job) {
	held := q.hold(ctx, h, j)
	err := q.try(ctx, h, j)
	held()
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err == nil {
		jobRuns.WithLabelValues(h.Kind, "done").Inc()
		if err := q.db.Update(after, func(tx *Tx) error { return tx.Finish(j) }); err != nil {
			q.log.Warn("store: a job is done but will run again", "kind", j.Kind, "key", j.Key, "err", err)
		}
		return
	}
	delay := backoff(j.Attempts)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		delay = 0 // the node ends: another takes over
	} else {
		jobRuns.WithLabelValues(h.Kind, "failed").Inc()
		q.log.Warn("store: a job failed", "kind", j.Kind, "key", j.Key, "attempts", j.Attempts, "again", delay, "err", err)
	}
	if err := q.db.retryJob(after, j, delay, shorten(err.Error())); err != nil {
		q.log.Warn("store: a failed job waits for its claim to end", "kind", j.Kind, "key", j.Key, "err", err)
	}
}

// hold keeps the claim of a job while it runs, for as long as it may, and gives what ends that.
func (q *Jobs) hold(ctx context.Context, h JobHandler, j Job) (end func()) {
	if h.Patience <= q.term {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, h.Patience-q.term)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		tick := time.NewTicker(q.term / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if held, err := q.db.keepJob(ctx, j, q.term); err == nil && !held {
				return
			}
		}
	})
	return func() {
		cancel()
		keeping.Wait()
	}
}

// try runs the handler within its time. A panic is a failed run: one bad job must not end the node.
func (q *Jobs) try(ctx context.Context, h JobHandler, j Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, h.Patience)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return h.Do(ctx, j)
}

// backoff doubles with each attempt, with jitter, so that what failed together does not come back together.
func backoff(attempts int) time.Duration {
	d := min(backoffLeast<<min(attempts-1, 20), backoffMost)
	return d/2 + rand.N(d/2)
}

func shorten(s string) string {
	if len(s) > failureMost {
		s = s[:failureMost]
	}
	// PostgreSQL takes neither half characters nor NUL.
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}
