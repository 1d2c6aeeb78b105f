package inbound

import (
	"context"
	"errors"
	"sync"
	"time"

	"astrocyte/matrix"
)

const (
	maxLate   = 5000
	lateEvery = 250 * time.Millisecond
	lateFor   = 30 * time.Second
)

// lateReceipt is a receipt whose event is on its way: it came in the same transaction, and waits to be received.
type lateReceipt struct {
	room   matrix.RoomID
	user   matrix.UserID
	event  matrix.EventID
	thread string
	ts     int64
	until  time.Time
}

// late are such receipts. To lose some costs a marker that is late.
type late struct {
	mu  sync.Mutex
	all []lateReceipt
}

func newLate() *late { return new(late) }

func (l *late) add(r lateReceipt, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) < maxLate {
		r.until = now.Add(lateFor)
		l.all = append(l.all, r)
	}
}

func (l *late) take() []lateReceipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

func (l *late) putBack(rs []lateReceipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(rs, l.all...)
}

// retryReceipts tries the receipts again that came before their events.
func (i *Inbound) retryReceipts(ctx context.Context) error {
	var early []lateReceipt
	defer func() { i.late.putBack(early) }()
	for _, r := range i.late.take() {
		err := i.takeReceipt(ctx, r)
		var wrong *matrix.Error
		switch {
		case errors.Is(err, errTooEarly) && i.now().Before(r.until):
			early = append(early, r)
		case err == nil, errors.Is(err, errTooEarly), errors.As(err, &wrong):
		default:
			return err
		}
	}
	return nil
}
