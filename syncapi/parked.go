package syncapi

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/httpapi"
)

const (
	// attemptTime bounds one look of a parked poll.
	attemptTime = 30 * time.Second
	// parkedLook is how often a parked poll looks by itself. It says more often that its client is there.
	parkedLook = time.Minute
)

// parkedPoll is a poll whose connection is parked: it holds no goroutine. Whatever wakes it puts it into the queue
// of the lot, whose goroutines look for it.
type parkedPoll struct {
	*poll
	lot      *lot
	detached *httpapi.Detached
	admitted func(context.Context, *http.Request) error
	timer    *time.Timer

	looked time.Time // when it was looked at last; of whoever looks

	mu    sync.Mutex
	state parkedState
	woken bool // there may be news: it is not only time to say that the client is there
	again bool // it was woken while it was looked at
	gone  bool // the client went away
	stop  bool // the server stops
}

// parkedState is where a parked poll is.
type parkedState int

const (
	asleep parkedState = iota
	queued
	looking
	finished
)

// lot is the parked polls of this node that are to be looked at.
type lot struct {
	a *API

	mu    sync.Mutex
	queue []*parkedPoll // each is in it once
	more  chan struct{} // holds a signal where the queue is not empty
}

func newLot(a *API) *lot { return &lot{a: a, more: make(chan struct{}, 1)} }

// park leaves a poll to the lot.
func (a *API) park(p *poll, d *httpapi.Detached, admitted func(context.Context, *http.Request) error) {
	k := &parkedPoll{poll: p, lot: a.lot, detached: d, admitted: admitted, looked: a.now()}
	k.timer = time.AfterFunc(min(p.left(), nextLook()), k.tick)
	p.waiter.hand(k.wake)
	d.OnEnd(k.end)
}

// wake has the poll looked at. It does not block.
func (k *parkedPoll) wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.woken = true
	k.enqueue()
}

// tick has it looked at because time has passed.
func (k *parkedPoll) tick() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.enqueue()
}

// enqueue puts it into the queue once. The lock is held.
func (k *parkedPoll) enqueue() {
	switch k.state {
	case asleep:
		k.state = queued
		k.lot.add(k)
	case looking:
		k.again = true
	}
}

// end hears that the client went away, or that the server stops.
func (k *parkedPoll) end(gone bool) {
	k.mu.Lock()
	if gone {
		k.gone = true
	} else {
		k.stop = true
	}
	k.mu.Unlock()
	k.wake()
}

func (l *lot) add(k *parkedPoll) {
	l.mu.Lock()
	l.queue = append(l.queue, k)
	l.mu.Unlock()
	l.signal()
}

func (l *lot) signal() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// take takes the poll that has waited longest; nil: there is none.
func (l *lot) take() *parkedPoll {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	k := l.queue[0]
	l.queue[0] = nil
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil
	} else {
		l.signal() // the others help
	}
	return k
}

// run looks at the polls that were woken, until ctx ends.
func (l *lot) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range 2 * runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for {
				if k := l.take(); k != nil {
					k.attempt(ctx)
					continue
				}
				select {
				case <-l.more:
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return g.Wait()
}

// attempt looks for a poll once, and answers it or lets it sleep on.
func (k *parkedPoll) attempt(ctx context.Context) {
	a := k.lot.a
	k.mu.Lock()
	woken, gone := k.woken, k.gone
	k.state, k.woken, k.again = looking, false, false
	k.last = k.last || k.stop
	k.mu.Unlock()
	if gone {
		k.finish()
		k.detached.Abandon()
		return
	}
	if !woken && k.left() > 0 && a.now().Sub(k.looked) < parkedLook {
		a.alive(ctx, &k.question)
		k.sleepOn()
		return
	}
	k.looked = a.now()
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	n, err := a.attempt(ctx, k.poll, func(ctx context.Context) error { return k.admitted(ctx, k.detached.Request()) })
	if n == nil && err == nil {
		k.sleepOn()
		return
	}
	k.finish()
	k.detached.Finish(func(w http.ResponseWriter, r *http.Request) error {
		if err != nil {
			return err
		}
		return httpapi.WriteJSON(w, r, http.StatusOK, n)
	})
}

// sleepOn puts the poll to sleep, or into the queue again if it was woken meanwhile.
func (k *parkedPoll) sleepOn() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = asleep
	k.timer.Reset(max(min(k.left(), nextLook()), time.Millisecond))
	if k.again || k.gone || k.stop {
		k.state = queued
		k.lot.add(k)
	}
}

// finish ends the waiting.
func (k *parkedPoll) finish() {
	k.mu.Lock()
	k.state = finished
	k.mu.Unlock()
	k.timer.Stop()
	k.waiter.stop()
}
