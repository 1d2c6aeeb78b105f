package appservice

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"astrocyte/bus"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	batchMost       = 100 // events of a transaction
	deliverPatience = time.Minute
	pauseLeast      = time.Second // after a failure, doubled with each further one
	pauseMost       = 5 * time.Minute
)

// progress is how far a service has been told.
type progress struct {
	sent    int64 // position up to which it has taken what there was
	pending int64 // position up to which the transaction goes that it may have taken, or not
}

// lane is the way to one service: what it is told goes one after the other.
type lane struct {
	*Services
	service *Service
	turn    chan struct{} // has room for the one who sends
	near    *vicinity
}

func (s *Services) lane(service *Service) *lane {
	return &lane{Services: s, service: service, turn: make(chan struct{}, 1), near: newVicinity(s, service)}
}

// run brings the service what it is to be told as long as the context lasts.
func (l *lane) run(ctx context.Context) error {
	f := roomserver.Follower{
		Name: l.follower(), FromNow: true, Batch: batchMost, Beside: l.beside,
		Take: func(ctx context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
			return nil, l.bring(ctx, events)
		},
	}
	if l.service.Encrypts {
		f.Hints = []bus.Kind{bus.User} // messages to devices, and keys
	}
	if l.service.ephemeral() {
		f.Along = l.tellPassing
	}
	return l.rooms.Follow(ctx, l.bus, f)
}

// follower names the cursor of what the service has been told.
func (l *lane) follower() string { return "appservice " + l.service.ID }

// beside gives positions at which there is something for the service that is in no timeline.
func (l *lane) beside(tx *store.Tx, after int64, limit int) ([]int64, error) {
	all, err := outsideAfter(tx, l.service.ID, after, limit)
	if err != nil {
		return nil, err
	}
	if l.service.ephemeral() {
		read, err := l.ephemeral.ReceiptPositions(tx, after, limit)
		if err != nil {
			return nil, fmt.Errorf("look for receipts: %w", err)
		}
		all = append(all, read...)
	}
	if l.service.Encrypts {
		keys, err := l.encryption.ServicePositions(tx, after, limit, l.service.ActsFor)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	return all, nil
}

// bring sends some events that follow each other. A transaction that may have been sent before is sent
// again as it was, before what comes after it.
func (l *lane) bring(ctx context.Context, events []roomserver.Passed) error {
	for len(events) > 0 {
		part, upto, err := l.next(ctx, events)
		if err != nil {
			return err
		}
		if upto != 0 {
			news, err := l.send(ctx, part, upto)
			if err != nil {
				return err
			}
			err = l.db.Update(ctx, func(tx *store.Tx) error {
				if err := writeProgress(tx, l.service.ID, progress{upto, upto}); err != nil {
					return err
				}
				if news.devices != nil {
					if err := l.encryption.Took(tx, news.devices.taken); err != nil {
						return err
					}
				}
				return forgetOutside(tx, l.service.ID, upto)
			})
			if err != nil {
				return fmt.Errorf("note what %s has taken: %w", l.service.ID, err)
			}
		}
		events = events[len(part):]
	}
	return nil
}

// next finds which events come first, and notes that they are about to be sent. upto 0: they have been.
func (l *lane) next(ctx context.Context, events []roomserver.Passed) (part []roomserver.Passed, upto int64, err error) {
	err = l.db.Update(ctx, func(tx *store.Tx) error {
		p, err := readProgress(tx, l.service.ID)
		if err != nil {
			return err
		}
		until := func(pos int64) []roomserver.Passed {
			n := 0
			for n < len(events) && events[n].Pos <= pos {
				n++
			}
			return events[:n]
		}
		if part, upto = until(p.sent), 0; len(part) > 0 {
			return nil
		}
		if part = until(p.pending); len(part) > 0 {
			upto = p.pending
			return nil
		}
		part, upto = events, events[len(events)-1].Pos
		return writeProgress(tx, l.service.ID, progress{p.sent, upto})
	})
	return part, upto, err
}

// send sends what concerns the service of some events as one transaction, until it has taken it.
func (l *lane) send(ctx context.Context, events []roomserver.Passed, upto int64) (*transaction, error) {
	news, err := l.concerning(ctx, events)
	if err != nil || news.empty() {
		return news, err
	}
	if !l.takesTurn(ctx) {
		return nil, ctx.Err()
	}
	defer l.endsTurn()
	for pause := pauseLeast; ; pause = min(2*pause, pauseMost) {
		taken, err := l.put(ctx, strconv.FormatInt(upto, 10), news, pause)
		if err != nil || taken {
			return news, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// takesTurn waits until nothing else is on its way to the service; false: the context has ended.
func (l *lane) takesTurn(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case l.turn <- struct{}{}:
		return true
	}
}

func (l *lane) endsTurn() { <-l.turn }

// put sends a transaction once; false: it was not taken, and the log has why. An error is ours.
//
// Spec: PUT /_matrix/app/v1/transactions/{txnId}
func (l *lane) put(ctx context.Context, txn string, news *transaction, pause time.Duration) (taken bool, err error) {
	body, err := news.write(l.service)
	if err != nil {
		return false, fmt.Errorf("write a transaction for %s: %w", l.service.ID, err)
	}
	status, _, err := l.call(ctx, l.service, deliverPatience, http.MethodPut, "/transactions/"+url.PathEscape(txn), body)
	if err == nil && status == http.StatusOK {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	l.log.Warn("an application service did not take a transaction", "service", l.service.ID, "txn", txn, "status", status,
		"error", err, "again_in", pause)
	return false, nil
}
