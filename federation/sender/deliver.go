package sender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	// sendTime bounds the sending of a transaction: the other server looks at all of it before it answers.
	sendTime = time.Minute
	// turns bounds the transactions that a server is sent before it stands in line again.
	turns = 20
	// pauseLeast and pauseMost bound how long a server that is not reached is left alone. One that says it is busy
	// is there: it is asked again soon.
	pauseLeast = 5 * time.Second
	pauseBusy  = 2 * time.Second
	pauseMost  = 24 * time.Hour
	// maxDropped bounds the things that are dropped one after the other before the server is left alone.
	maxDropped = 3
	// maxAnswer bounds the answer to a transaction.
	maxAnswer = 1 << 20
	// stopTime is how long a transaction that is under way is waited for when the node stops.
	stopTime = 3 * time.Second
	// settleTime bounds the noting of what was sent, when the node stops meanwhile.
	settleTime = 10 * time.Second
)

// failure is why a server was not reached, and for how long it is left alone.
type failure struct {
	pause, wait time.Duration
	text        string
}

// serve sends to a server, one transaction after the other, until nothing waits, it fails, or others want a turn.
func (s *Sender) serve(ctx context.Context, c claim) {
	if c.greeting {
		s.greetOne(ctx, c.server)
	}
	err := s.sendAll(ctx, c.server)
	if err == nil {
		return
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if ctx.Err() == nil {
		s.log.Error("send to another server", "server", c.server, "error", err)
	}
	if err := s.db.Update(after, func(tx *store.Tx) error { return s.giveBack(tx, c.server, true) }); err != nil {
		s.log.Warn("a claim to send to another server ends by itself", "server", c.server, "error", err)
	}
}

// sendAll is serve; its error means that the claim was not given back.
//
// A transaction that the server rejects is halved until it is found which thing it does not take. That one is
// dropped; but not one after the other, as then it is not they that are at fault.
func (s *Sender) sendAll(ctx context.Context, server matrix.ServerName) error {
	const all = maxEDUs + maxPDUs
	most, dropped := all, 0
	for turn := 1; ; turn++ {
		t, err := s.compose(ctx, server, most)
		if err != nil {
			return err
		}
		if !t.empty() {
			err = s.send(ctx, t)
		}
		switch {
		case err == nil:
			most, dropped = min(2*most, all), 0
		case ctx.Err() != nil:
			return ctx.Err()
		case rejects(err) && t.size() > 1:
			most = t.size() / 2
			continue
		case rejects(err) && dropped < maxDropped:
			dropped++
			s.drop(t, err)
		default:
			return s.fail(ctx, t, err)
		}
		more, err := s.settle(ctx, t, err == nil, turn >= turns)
		if err != nil || !more || turn >= turns {
			return err
		}
	}
}

// rejects says whether a server does not take a transaction for what is in it.
func rejects(err error) bool {
	var refused *peer.Refused
	return errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusRequestEntityTooLarge)
}

// drop says which thing a server is not sent, as it does not take it.
func (s *Sender) drop(t *transaction, err error) {
	transactions.WithLabelValues("dropped").Inc()
	for _, p := range t.pdus {
		s.log.Warn("another server rejects an event, and is not sent it again", "server", t.server, "event", p.id, "error", err)
	}
	if len(t.edus) > 0 {
		s.log.Warn("another server rejects an EDU, and is not sent it again", "server", t.server, "error", err)
	}
}

// send brings a transaction to its server.
//
// Spec: PUT /_matrix/federation/v1/send/{txnId}
func (s *Sender) send(ctx context.Context, t *transaction) error {
	now := s.now().UnixMilli()
	var answer struct {
		PDUs map[matrix.EventID]struct {
			Error string `json:"error"`
		} `json:"pdus"`
	}
	ctx, cancel := lingering(ctx, stopTime)
	defer cancel()
	began := time.Now()
	err := s.client.Do(ctx, t.server, peer.Request{
		Method: http.MethodPut, Path: peer.Path("/_matrix/federation/v1/send", t.id(now)),
		Body: t.body(s.rooms.Server(), now), Into: &answer, Limit: maxAnswer, Timeout: sendTime,
	})
	transactions.WithLabelValues(outcome(err)).Inc()
	if err != nil {
		return err
	}
	sendSeconds.Observe(time.Since(began).Seconds())
	sent.WithLabelValues("pdu").Add(float64(len(t.pdus)))
	sent.WithLabelValues("edu").Add(float64(len(t.edus)))
	for id, result := range answer.PDUs {
		if result.Error != "" {
			s.log.Info("another server does not take an event", "server", t.server, "event", id, "error", shorten(result.Error))
			sent.WithLabelValues("pdu_refused").Inc()
		}
	}
	return nil
}

// lingering is a context that ends some time after its parent.
func lingering(parent context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		timer := time.NewTimer(by)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// settle notes what was sent, or dropped, and says whether more waits. The claim ends when nothing does, or
// where this was the last turn.
func (s *Sender) settle(ctx context.Context, t *transaction, reached, last bool) (more bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := lockDestination(tx, t.server); err != nil {
			return err
		}
		for _, m := range t.moves {
			if err := moveOn(tx, t.server, m); err != nil {
				return err
			}
		}
		if err := s.settleDurable(tx, t); err != nil {
			return err
		}
		if reached && !t.empty() {
			if err := writeReached(tx, t.server); err != nil {
				return err
			}
		}
		if more, err = s.anyWaiting(tx, t.server); err != nil || more && !last {
			return err
		}
		return s.giveBack(tx, t.server, more)
	})
	if err != nil {
		return false, fmt.Errorf("note what was sent to %s: %w", t.server, err)
	}
	s.passing.remove(t)
	return more, nil
}

// fail notes that a server was not reached, and leaves it alone for a while, twice as long as the last time.
func (s *Sender) fail(ctx context.Context, t *transaction, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	f := failure{text: shorten(cause.Error())}
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		was, err := lockDestination(tx, t.server)
		if err != nil {
			return err
		}
		least := s.pause
		var refused *peer.Refused
		if errors.As(cause, &refused) && refused.Status == http.StatusTooManyRequests {
			least = pauseBusy
		}
		f.pause = min(max(2*time.Duration(was)*time.Millisecond, least), pauseMost)
		f.wait = f.pause - f.pause/10 + rand.N(f.pause/5) // what failed together does not come back together
		if refused != nil && refused.RetryAfter > 0 {
			f.wait = refused.RetryAfter
		}
		return s.writeFailure(tx, t.server, f)
	})
	if err != nil {
		return fmt.Errorf("note that %s was not reached: %w", t.server, err)
	}
	s.contacts.failed(t.server)
	s.log.Info("another server was not reached", "server", t.server, "again", f.wait.Round(time.Second), "error", cause)
	return nil
}

// shorten makes text of another server fit for the log and the database.
func shorten(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}
