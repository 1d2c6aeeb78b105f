package delayed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/errgroup"

	"astrocyte/bus"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/store"
)

var eventsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "astrocyte_delayed_events_total",
	Help: "Delayed events that are over, by what became of them: sent, refused or cancelled.",
}, []string{"result"})

// changed is the change that an event was left; Pos is when it is to be sent, in milliseconds.
const changed bus.Kind = "delayed"

const (
	lookEvery  = 5 * time.Second  // how often the node that sends looks by itself: hints may be lost
	leaseFor   = 10 * time.Second // after this time another node takes over from one that died
	sweepEvery = time.Hour
	batchMost  = 256
	atOnce     = 8               // rooms into which is sent at the same time
	retryAfter = 5 * time.Second // where the server itself failed
)

// Run sends what is due, on one node at a time, until ctx ends.
func (d *Delayed) Run(ctx context.Context) error {
	return d.db.Alone(ctx, "delayed events", d.rooms.Process(), leaseFor, func(ctx context.Context, _ store.Lease) error {
		news := d.bus.Subscribe(changed) // before the looking: what comes between is not missed
		defer news.Close()
		var swept time.Time
		for ctx.Err() == nil {
			if d.now().Sub(swept) >= sweepEvery {
				swept = d.now()
				d.sweep(ctx)
			}
			next, err := d.sendDue(ctx)
			if err != nil && ctx.Err() == nil {
				d.log.Error("send delayed events", "error", err)
			}
			d.sleep(ctx, news, next)
		}
		return nil
	})
}

// sleep waits until an event is due: the next one that is known, or one that was left meanwhile.
func (d *Delayed) sleep(ctx context.Context, news *bus.Subscription, next int64) {
	wait := min(time.Duration(next-d.millis())*time.Millisecond, lookEvery)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case c := <-news.C:
			if c.Kind == bus.Lost || c.Pos < next {
				return
			}
		}
	}
}

// sendDue sends what is due, and tells when the next event is; where there is none, a time that is far.
func (d *Delayed) sendDue(ctx context.Context) (next int64, err error) {
	for {
		now := d.millis()
		var events []Event
		err := d.db.View(ctx, func(tx *store.Tx) (err error) {
			if events, err = due(tx, now, batchMost); err != nil || len(events) > 0 {
				return err
			}
			next, err = nextDue(tx, now+time.Hour.Milliseconds())
			return err
		})
		if err != nil || len(events) == 0 {
			return max(next, now), errorsAt("find what is due", err)
		}
		if err := d.sendAll(ctx, events); err != nil {
			return now + retryAfter.Milliseconds(), err
		}
	}
}

func errorsAt(where string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// sendAll sends events: those of a room one after the other, in their order.
func (d *Delayed) sendAll(ctx context.Context, events []Event) error {
	rooms := make(map[matrix.RoomID][]Event)
	var order []matrix.RoomID
	for _, e := range events {
		if rooms[e.Room] == nil {
			order = append(order, e.Room)
		}
		rooms[e.Room] = append(rooms[e.Room], e)
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, room := range order {
		g.Go(func() error {
			var failed error
			for _, e := range rooms[room] {
				failed = errors.Join(failed, d.sendOne(ctx, e))
			}
			return failed
		})
	}
	return g.Wait()
}

// errMoved is that an event was sent, cancelled or put off meanwhile.
var errMoved = matrix.E(matrix.CodeUnknown, "the event is not due any more")

// sendOne sends an event whose time has come. What its user may not send is over, and they can read why;
// where the server fails it is tried again a little later.
func (d *Delayed) sendOne(ctx context.Context, e Event) error {
	err := d.send(ctx, e, func(now *Event) error {
		if now.Ended != 0 || now.due() > d.millis() {
			return errMoved
		}
		return nil
	})
	var refusal *matrix.Error
	switch {
	case err == nil, errors.Is(err, errMoved), errors.Is(err, errUnknown):
		return nil
	case errors.As(err, &refusal) && refusal.Code == matrix.CodeLimitExceeded:
		httpapi.CountLimited(refusal)
		return d.refuse(ctx, e, matrix.E(matrix.CodeLimitExceeded, "too many events were sent when this one was due"))
	case errors.As(err, &refusal):
		return d.refuse(ctx, e, refusal)
	}
	again := d.millis() + retryAfter.Milliseconds()
	put := d.db.Update(ctx, func(tx *store.Tx) error { return putOff(tx, e.ID, e.User, again) })
	return errors.Join(err, put)
}

// refuse ends an event that its user may not send.
func (d *Delayed) refuse(ctx context.Context, e Event, why *matrix.Error) error {
	reason, err := json.Marshal(map[string]string{"errcode": string(why.Code), "error": why.Message})
	if err != nil {
		return err
	}
	return d.db.Update(ctx, func(tx *store.Tx) error {
		now, err := find(tx, e.ID, "", true)
		if err != nil || now.Ended != 0 || now.due() > d.millis() {
			return ignoreUnknown(err)
		}
		eventsTotal.WithLabelValues("refused").Inc()
		return end(tx, e.ID, e.User, d.millis(), "", reason)
	})
}

func ignoreUnknown(err error) error {
	if errors.Is(err, errUnknown) {
		return nil
	}
	return err
}

// sweep forgets events that have been over for long.
func (d *Delayed) sweep(ctx context.Context) {
	before := d.millis() - endedFor.Milliseconds()
	err := d.db.Update(ctx, func(tx *store.Tx) error { return deleteEnded(tx, before) })
	if err != nil && ctx.Err() == nil {
		d.log.Error("forget old delayed events", "error", err)
	}
}
