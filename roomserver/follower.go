package roomserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/bus"
	"astrocyte/store"
)

// Passed is an event as a follower of the stream meets it.
type Passed struct {
	Room RoomNID
	Item
	// Event is what passed, nil where it is no event of a timeline or is not there any more. Its redaction, and what
	// else came later, may be missing from it: who needs that reads it anew.
	Event *Event
}

// Follower is work that is done about every event of the stream once, in its order, after the commit of
// the event: what can be computed again need not make the sender wait. History, which is news to nobody,
// does not pass.
//
// Of all nodes one does the work, by a lease. How far it has got is a durable cursor, which moves in the
// transaction that writes what came of the work: after a crash it goes on where that was committed.
type Follower struct {
	Name    string // of the cursor and the lease
	Node    string // who holds the lease; empty: this process
	FromNow bool   // a follower that is new begins at the newest event, not at the first one
	Batch   int    // the most events that are taken at a time; 0: 200
	// Gather is how long after it has taken some the follower waits before it takes the next ones, so that there are
	// more of them to share a commit: a server at rest does the work at once, a busy one less often. 0: 50 ms.
	Gather time.Duration
	// Beside gives up to limit further positions behind one, in their order, at which there is something to do that is in
	// no timeline: it passes as an event without a number. Who puts something there announces bus.Outside. nil: there is
	// nothing.
	Beside func(tx *store.Tx, after int64, limit int) ([]int64, error)
	// Hints are further kinds of changes upon which it looks at once.
	Hints []bus.Kind
	// Take does the work about some events, outside of any transaction, and gives what is to be written
	// with the cursor, or nil. What it writes so is done exactly once; what it does by itself may be done
	// again after a crash. An error means that all of them are tried again later.
	Take func(ctx context.Context, events []Passed) (write func(tx *store.Tx) error, err error)
	// Along runs beside it, on the node that does the work, for as long as it does: what belongs to the work and is not
	// about the stream. nil: there is nothing.
	Along func(ctx context.Context) error
}

const (
	followEvery = 3 * time.Second  // how often a follower looks by itself: hints may be lost
	followLease = 15 * time.Second // after this time another node takes over from one that died
	followPause = time.Second      // after a failure, doubled with each further one
	followRest  = time.Minute      // the longest pause
	followBatch = 200
	followPace  = 50 * time.Millisecond
)

// errPassedBy means that another node does the work by now.
var errPassedBy = errors.New("another node follows")

// processName is who this process is to the others. SQLite has one process at a time: it goes on with the
// leases of the one before.
func processName(db *store.DB) string {
	if db.Engine() == "sqlite" {
		return "process"
	}
	return randomText()
}

// Follow runs a follower until the context ends.
func (r *Rooms) Follow(ctx context.Context, wakes bus.Bus, f Follower) error {
	if f.Batch == 0 {
		f.Batch = followBatch
	}
	if f.Gather == 0 {
		f.Gather = followPace
	}
	if f.Node == "" {
		f.Node = r.process
	}
	return r.db.Alone(ctx, "follower "+f.Name, f.Node, followLease, func(ctx context.Context, l store.Lease) error {
		g, ctx := errgroup.WithContext(ctx)
		ctx, stop := context.WithCancel(ctx)
		if f.Along != nil {
			g.Go(func() error { return f.Along(ctx) })
		}
		g.Go(func() error {
			defer stop()
			return r.follow(ctx, wakes, f, l)
		})
		return g.Wait()
	})
}

// follow does the work of a follower as long as this node has the lease.
func (r *Rooms) follow(ctx context.Context, wakes bus.Bus, f Follower, l store.Lease) error {
	kinds := append([]bus.Kind{bus.Room}, f.Hints...)
	if f.Beside != nil {
		kinds = append(kinds, bus.Outside)
	}
	news := wakes.Subscribe(kinds...)
	defer news.Close()
	pause := followPause
	for {
		err := r.catchUp(ctx, &f, l)
		wait, took := followEvery, time.Now()
		switch {
		case ctx.Err() != nil, errors.Is(err, errPassedBy):
			return nil
		case err != nil:
			r.log.Error("a follower failed, and tries again", "follower", f.Name, "in", pause, "error", err)
			wait, pause = pause, min(2*pause, followRest)
		default:
			pause = followPause
		}
		if !rest(ctx, news, wait, err == nil) || !gatherUntil(ctx, news, took.Add(f.Gather)) {
			return nil
		}
	}
}

// gatherUntil waits for a time, and takes the hints of what has come until then: one look is for all of them; false:
// the context has ended.
func gatherUntil(ctx context.Context, news *bus.Subscription, t time.Time) bool {
	if left := time.Until(t); left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	for {
		select {
		case <-news.C:
		default:
			return true
		}
	}
}

// rest waits for news, where they matter, or for the time to be over; false: the context has ended.
func rest(ctx context.Context, news *bus.Subscription, d time.Duration, newsMatter bool) bool {
	c := news.C
	if !newsMatter {
		c = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-c:
	}
	return true
}

// catchUp takes what has passed until there is no more.
func (r *Rooms) catchUp(ctx context.Context, f *Follower, l store.Lease) error {
	for {
		n, err := r.followOn(ctx, f, l)
		if err != nil || n < f.Batch {
			return err
		}
	}
}

// followOn takes one batch.
func (r *Rooms) followOn(ctx context.Context, f *Follower, l store.Lease) (int, error) {
	from, events, err := r.passed(ctx, f)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	write, err := f.Take(ctx, events)
	if err != nil {
		return 0, err
	}
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		if held, err := tx.Holds(l); err != nil || !held {
			return errors.Join(err, errPassedBy)
		}
		moved, err := moveFollower(tx, f.Name, from, events[len(events)-1].Pos)
		if err != nil {
			return fmt.Errorf("move the cursor: %w", err)
		}
		if !moved {
			return errPassedBy
		}
		if write == nil {
			return nil
		}
		return write(tx)
	})
	return len(events), err
}

// passed reads where the follower is and what comes next. A position is seen only when all before it
// are, so nothing is jumped over.
func (r *Rooms) passed(ctx context.Context, f *Follower) (from int64, events []Passed, err error) {
	read := func(tx *store.Tx) (known bool, err error) {
		if from, known, err = followerPos(tx, f.Name); err != nil || !known {
			return false, err
		}
		if events, err = f.after(tx, from); err != nil {
			return false, err
		}
		return true, r.fill(tx, events)
	}
	var known bool
	if err := r.db.View(ctx, func(tx *store.Tx) error { known, err = read(tx); return err }); err != nil || known {
		return from, events, err
	}
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		first := int64(0)
		if f.FromNow {
			if first, err = tx.Pos(); err != nil {
				return err
			}
		}
		if err := beginFollowing(tx, f.Name, first); err != nil {
			return fmt.Errorf("begin to follow: %w", err)
		}
		_, err := read(tx)
		return err
	})
	return from, events, err
}

// fill reads the events that have passed.
func (r *Rooms) fill(tx *store.Tx, passed []Passed) error {
	nids := make([]int64, 0, len(passed))
	for _, p := range passed {
		if p.NID != 0 {
			nids = append(nids, p.NID)
		}
	}
	events, err := r.held(tx, nids)
	if err != nil {
		return fmt.Errorf("read what has passed: %w", err)
	}
	for i := range passed {
		passed[i].Event = events[passed[i].NID]
	}
	return nil
}

// after reads what comes behind a position: of the timelines, and beside them.
func (f *Follower) after(tx *store.Tx, pos int64) ([]Passed, error) {
	events, err := passedAfter(tx, pos, f.Batch)
	if err != nil || f.Beside == nil {
		return events, err
	}
	beside, err := f.Beside(tx, pos, f.Batch)
	if err != nil || len(beside) == 0 {
		return events, err
	}
	for _, at := range beside {
		events = append(events, Passed{Item: Item{Pos: at}})
	}
	slices.SortFunc(events, func(a, b Passed) int { return cmp.Compare(a.Pos, b.Pos) })
	return events[:min(len(events), f.Batch)], nil
}

// Reached waits until a follower has taken all events that are there now, so that who acts on what it
// wrote sees their own events; but not for longer than the patience lasts.
func (r *Rooms) Reached(ctx context.Context, follower string, patience time.Duration) error {
	var goal int64
	end := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		behind := false
		err := r.db.View(ctx, func(tx *store.Tx) (err error) {
			if goal == 0 {
				if goal, err = tx.Pos(); err != nil {
					return err
				}
			}
			at, _, err := followerPos(tx, follower)
			if err != nil || at >= goal {
				return err
			}
			next, err := passedAfter(tx, at, 1)
			behind = len(next) > 0 && next[0].Pos <= goal
			return err
		})
		if err != nil || !behind || time.Now().Add(pause).After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Process names this process to the others, as the holder of leases.
func (r *Rooms) Process() string { return r.process }
