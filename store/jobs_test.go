package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/store"
	"astrocyte/testkit"
)

// workers runs jobs on nodes until the test ends.
func workers(t *testing.T, h store.JobHandler, dbs ...*store.DB) {
	t.Helper()
	workersFor(t, 0, h, dbs...)
}

// workersFor does so, with claims of a term.
func workersFor(t *testing.T, term time.Duration, h store.JobHandler, dbs ...*store.DB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, db := range dbs {
		q, err := store.NewJobs(db, h)
		if err != nil {
			t.Fatal(err)
		}
		if term > 0 {
			q.SetTerm(term)
		}
		wg.Go(func() {
			if err := q.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func enqueue(t *testing.T, db *store.DB, jobs ...store.Job) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		for _, j := range jobs {
			if err := tx.Enqueue(j); err != nil {
				return err
			}
		}
		return nil
	})
}

// empty waits until no job is left.
func empty(t *testing.T, db *store.DB) {
	t.Helper()
	for {
		n, _, err := one(db, `SELECT COUNT(*) FROM jobs`)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestJobsRunOnce(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		var mu sync.Mutex
		runs := make(map[string]int)
		workers(t, store.JobHandler{Kind: "count", Parallel: 3, Do: func(_ context.Context, j store.Job) error {
			mu.Lock()
			defer mu.Unlock()
			runs[j.Key+"="+string(j.Payload)]++
			return nil
		}}, a, b)
		var all []store.Job
		for i := range 60 {
			all = append(all, store.Job{Kind: "count", Key: fmt.Sprint(i), Payload: []byte("x")})
		}
		enqueue(t, a, all...)
		enqueue(t, a, store.Job{Kind: "other", Key: "stays"})
		for {
			if n, _, err := one(a, `SELECT COUNT(*) FROM jobs WHERE kind = 'count'`); err != nil || n == 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(runs) != 60 {
			t.Errorf("%d jobs ran", len(runs))
		}
		for k, n := range runs {
			if n != 1 {
				t.Errorf("job %s ran %d times", k, n)
			}
		}
	})
}

func TestJobAskedTwiceRunsOnceWithTheNewerPayload(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		enqueue(t, a, store.Job{Kind: "k", Key: "1", Payload: []byte("old"), Delay: time.Hour})
		enqueue(t, b, store.Job{Kind: "k", Key: "1", Payload: []byte("new")})
		payloads := make(chan string, 10)
		workers(t, store.JobHandler{Kind: "k", Do: func(_ context.Context, j store.Job) error {
			payloads <- string(j.Payload)
			return nil
		}}, a)
		if got := <-payloads; got != "new" {
			t.Errorf("ran with %s", got)
		}
		empty(t, a)
		if len(payloads) != 0 {
			t.Error("it ran again")
		}
	})
}

func TestJobAskedForWhileItRunsRunsAgain(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		started, finish := make(chan string), make(chan struct{})
		workers(t, store.JobHandler{Kind: "k", Parallel: 4, Do: func(_ context.Context, j store.Job) error {
			started <- string(j.Payload)
			<-finish
			return nil
		}}, a, b)
		enqueue(t, a, store.Job{Kind: "k", Key: "1", Payload: []byte("first")})
		if got := <-started; got != "first" {
			t.Error(got)
		}
		enqueue(t, b, store.Job{Kind: "k", Key: "1", Payload: []byte("second")})
		select {
		case got := <-started:
			t.Errorf("%s ran beside the first", got)
		case <-time.After(50 * time.Millisecond):
		}
		finish <- struct{}{}
		if got := <-started; got != "second" {
			t.Error(got)
		}
		finish <- struct{}{}
		empty(t, a)
	})
}

func TestFailedJobRunsAgain(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		attempts := make(chan int, 10)
		workers(t, store.JobHandler{Kind: "k", Do: func(_ context.Context, j store.Job) error {
			attempts <- j.Attempts
			switch j.Attempts {
			case 1:
				return errors.New("it did not go well \x00\xff")
			case 2:
				panic("it went worse")
			}
			return nil
		}}, a, b)
		enqueue(t, a, store.Job{Kind: "k", Key: "1"})
		for want := 1; want <= 3; want++ {
			if got := <-attempts; got != want {
				t.Errorf("attempt %d was told to be %d", want, got)
			}
		}
		empty(t, a)
	})
}

// A job whose run never ended is done by another node, and the late end of the first changes nothing.
func TestAbandonedJobIsTakenOver(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		stuck, release := make(chan store.Job, 1), make(chan struct{})
		workers(t, store.JobHandler{Kind: "k", Patience: 30 * time.Millisecond, Do: func(_ context.Context, j store.Job) error {
			stuck <- j
			<-release // deaf to its context
			return nil
		}}, a)
		enqueue(t, a, store.Job{Kind: "k", Key: "1"})
		first := <-stuck
		done := make(chan struct{}, 10)
		workers(t, store.JobHandler{Kind: "k", Do: func(_ context.Context, j store.Job) error {
			done <- struct{}{}
			return nil
		}}, b)
		<-done
		empty(t, b)
		enqueue(t, b, store.Job{Kind: "k", Key: "1", Delay: time.Hour}) // another of the same name
		update(t, b, func(tx *store.Tx) error { return tx.Finish(first) })
		if n, _, err := one(b, `SELECT COUNT(*) FROM jobs`); n != 1 || err != nil {
			t.Errorf("%d jobs are left, %v", n, err)
		}
		close(release)
	})
}

// What takes longer than the term of a claim stays with the node that does it.
func TestLongJobIsKept(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		const term = 5 * time.Second // more than the machine pauses
		var runs atomic.Int64
		due := func() int64 {
			at, _, err := one(b, `SELECT run_at FROM jobs`)
			if err != nil {
				t.Error(err)
			}
			return at
		}
		h := store.JobHandler{Kind: "k", Do: func(context.Context, store.Job) error {
			runs.Add(1)
			for first := due(); due() < first+term.Milliseconds() && runs.Load() == 1; { // until it was kept for a term
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}}
		enqueue(t, a, store.Job{Kind: "k", Key: "1"})
		workersFor(t, term, h, a, b)
		empty(t, a)
		if n := runs.Load(); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	})
}

// An embedded database has one process at a time: the next one need not wait for what the last had claimed.
func TestJobsOfADeadProcessAreFree(t *testing.T) {
	t.Parallel()
	dsn := testkit.SQLite(t)
	open := func() *store.DB {
		t.Helper()
		db, err := store.Open(t.Context(), store.Options{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	dead := open()
	begun, release := make(chan bool), make(chan bool)
	workers(t, store.JobHandler{Kind: "k", Do: func(context.Context, store.Job) error {
		begun <- true
		<-release
		return nil
	}}, dead)
	enqueue(t, dead, store.Job{Kind: "k", Key: "1"})
	<-begun
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	next := open()
	defer next.Close()
	done := make(chan bool, 1)
	workers(t, store.JobHandler{Kind: "k", Do: func(context.Context, store.Job) error {
		done <- true
		return nil
	}}, next)
	<-done
	empty(t, next)
	close(release)
}

// A handler may finish its job in the transaction of its own write: both are there or neither.
func TestJobFinishedWithItsWrite(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		things(t, a)
		refused := errors.New("refused")
		workers(t, store.JobHandler{Kind: "k", Do: func(ctx context.Context, j store.Job) error {
			return b.Update(ctx, func(tx *store.Tx) error {
				if err := errors.Join(add(tx, int64(j.Attempts)), tx.Finish(j)); err != nil {
					return err
				}
				if j.Attempts == 1 {
					return refused
				}
				return nil
			})
		}}, a)
		enqueue(t, a, store.Job{Kind: "k", Key: "1"})
		empty(t, a)
		if got := ids(t, a); len(got) != 1 || got[0] != 2 {
			t.Errorf("wrote %v", got)
		}
	})
}

func TestJobHandlersAreChecked(t *testing.T) {
	do := func(context.Context, store.Job) error { return nil }
	for why, h := range map[string][]store.JobHandler{
		"no kind":     {{Do: do}},
		"no function": {{Kind: "k"}},
		"twice":       {{Kind: "k", Do: do}, {Kind: "k", Do: do}},
	} {
		if _, err := store.NewJobs(&store.DB{}, h...); err == nil {
			t.Errorf("%s was taken", why)
		}
	}
}

// TestPostponedJobRests has a job come again by itself, when its time has come, and not before.
func TestPostponedJobRests(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		var mu sync.Mutex
		var runs []time.Time
		enqueue(t, db, store.Job{Kind: "rests", Key: "a"})
		workers(t, store.JobHandler{Kind: "rests", Do: func(ctx context.Context, j store.Job) error {
			mu.Lock()
			defer mu.Unlock()
			if runs = append(runs, time.Now()); len(runs) == 3 {
				return nil
			}
			return db.Update(ctx, func(tx *store.Tx) error { return tx.Postpone(j, 300*time.Millisecond) })
		}}, db)
		empty(t, db)
		if len(runs) != 3 {
			t.Fatalf("the job ran %d times", len(runs))
		}
		for i := range 2 {
			if rest := runs[i+1].Sub(runs[i]); rest < 250*time.Millisecond {
				t.Errorf("it came again after %s", rest)
			}
		}
	})
}

func TestWithdrawnJobDoesNotRun(t *testing.T) {
	nodes(t, func(t *testing.T, a, b *store.DB) {
		enqueue(t, a, store.Job{Kind: "k", Key: "taken back"}, store.Job{Kind: "k", Key: "stays"}, store.Job{Kind: "other", Key: "taken back"})
		update(t, b, func(tx *store.Tx) error { return tx.Withdraw("k", "taken back") })
		ran := make(chan string, 3)
		for _, kind := range []string{"k", "other"} {
			workers(t, store.JobHandler{Kind: kind, Do: func(_ context.Context, j store.Job) error {
				ran <- j.Kind + " " + j.Key
				return nil
			}}, a)
		}
		empty(t, a)
		close(ran)
		for what := range ran {
			if what == "k taken back" {
				t.Error("a job ran that was taken back")
			}
		}
	})
}
