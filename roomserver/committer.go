package roomserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/matrix"
	"astrocyte/store"
)

// batchMost bounds how many wishes one transaction fulfils.
const batchMost = 512

var batchSize = promauto.NewHistogram(prometheus.HistogramOpts{
	Name:    "astrocyte_rooms_batch_wishes",
	Help:    "How many wishes one transaction of the room committer fulfilled.",
	Buckets: prometheus.ExponentialBuckets(1, 2, 10),
})

// A wish is what one caller wants to be committed: all of it or nothing.
type wish struct {
	// rooms are those whose rows the wish reads and writes, apart from one that it creates.
	rooms []RoomNID
	// fulfil stages the wish on a batch. It may run again, on another batch, so it only sets what it
	// sets anew. A refusal fails this wish alone, any other error the batch.
	fulfil func(b *batch) error
	// of is the reception of an event whose wish it is, or nil; ids are all events that this asks for by their ids, which
	// are looked up with those of the other wishes.
	of  *reception
	ids []matrix.EventID
	// refused is the last run's refusal.
	refused error
	done    chan error
}

// commit hands a wish to the committer and waits for its end. When the context ends first the wish may
// still be fulfilled: the caller has not been told, which a transaction id makes good. So after an error what
// the wish sets may still be set, and is not read.
func (r *Rooms) commit(ctx context.Context, rooms []RoomNID, fulfil func(b *batch) error) error {
	w := &wish{rooms: rooms, fulfil: fulfil, done: make(chan error, 1)}
	if err := r.submit(ctx, w); err != nil {
		return err
	}
	return w.wait(ctx)
}

// submit hands a wish to the committer.
func (r *Rooms) submit(ctx context.Context, w *wish) error {
	select {
	case r.queue <- w:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the committer: %w", ctx.Err())
	}
}

// wait waits for the end of a wish.
func (w *wish) wait(ctx context.Context) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the commit: %w", ctx.Err())
	}
}

// batchPace is the least time between the beginnings of two batches while there is more than one to wait.
// A commit costs the same for one event and for several: at 1,000 events a second this saves a third of
// the processor's time, for a millisecond of latency.
const batchPace = 2 * time.Millisecond

// commitLoop fulfils wishes batch by batch. While one batch commits the next gathers in the queue, so
// that an idle server has the latency of one commit and a busy one commits for many.
func (r *Rooms) commitLoop(ctx context.Context) {
	var began time.Time // of the last batch
	busy := false       // more than one had waited for it
	for {
		select {
		case <-ctx.Done():
			r.refuseAll()
			return
		case first := <-r.queue:
			if busy {
				time.Sleep(batchPace - time.Since(began))
			}
			began = time.Now()
			wishes := r.gather(first)
			busy = len(wishes) > 1
			r.fulfilAll(context.WithoutCancel(ctx), wishes)
		}
	}
}

// gather takes what waits in the queue behind the first.
func (r *Rooms) gather(first *wish) []*wish {
	wishes := append(make([]*wish, 0, 16), first)
	for len(wishes) < batchMost {
		select {
		case w := <-r.queue:
			wishes = append(wishes, w)
		default:
			return wishes
		}
	}
	return wishes
}

// refuseAll answers those who wait when the node stops.
func (r *Rooms) refuseAll() {
	for {
		select {
		case w := <-r.queue:
			w.done <- errors.New("the server is stopping")
		default:
			return
		}
	}
}

// fulfilAll commits wishes together. A batch that the database refuses is halved, so that what it
// cannot take fails alone; not one whose end is unknown, since it may have been committed.
func (r *Rooms) fulfilAll(ctx context.Context, wishes []*wish) {
	batchSize.Observe(float64(len(wishes)))
	err := r.db.Update(ctx, func(tx *store.Tx) error { return r.runBatch(ctx, tx, wishes) })
	if err != nil && len(wishes) > 1 && !errors.Is(err, store.ErrUnknownOutcome) {
		half := len(wishes) / 2
		r.log.Warn("a batch was not committed, and is halved", "wishes", len(wishes), "err", err)
		r.fulfilAll(ctx, wishes[:half])
		r.fulfilAll(ctx, wishes[half:])
		return
	}
	for _, w := range wishes {
		if err != nil {
			w.done <- fmt.Errorf("commit: %w", err)
		} else {
			w.done <- w.refused
		}
	}
}

// runBatch tells the life of a batch in order.
func (r *Rooms) runBatch(ctx context.Context, tx *store.Tx, wishes []*wish) error {
	b := newBatch(ctx, r, tx)
	if err := b.lock(wishes); err != nil {
		return fmt.Errorf("lock rooms: %w", err)
	}
	if err := b.prepare(wishes); err != nil {
		return fmt.Errorf("look up what received events refer to: %w", err)
	}
	for _, w := range wishes {
		mark := b.mark(w.rooms)
		w.refused = nil
		err := w.fulfil(b)
		if refusal(err) {
			b.rewind(mark)
			w.refused = err
		} else if err != nil {
			return err
		}
	}
	return b.write()
}

// refusal says whether an error is about one wish alone: the caller's fault, or something that has to be
// done before.
func refusal(err error) bool {
	var fault *matrix.Error
	var gap *Gap
	var open *unresolved
	var lacking *Unrecommended
	return errors.As(err, &fault) || errors.As(err, &gap) || errors.As(err, &open) || errors.As(err, &lacking) ||
		errors.Is(err, ErrInside) || errors.Is(err, errOvertaken) || errors.Is(err, errPretended)
}
