package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	jobPush      = "push"
	deliverers   = 16              // jobs at a time on a node
	batchMost    = 50              // notifications that are read at a time
	tooOld       = 24 * time.Hour  // of a notification that nobody wants any more
	badgeDelay   = 2 * time.Second // so that reading on tells one count and not each
	deliverLimit = 2 * time.Minute // for one run of a job
)

// pusherKey names a pusher. A job of the kind push is about one.
type pusherKey struct {
	user     matrix.UserID
	app, key string
}

func (k pusherKey) text() ([]byte, error) {
	return json.Marshal([]string{string(k.user), k.app, k.key})
}

func parsePusherKey(text []byte) (pusherKey, error) {
	var parts []string
	if err := json.Unmarshal(text, &parts); err != nil || len(parts) != 3 {
		return pusherKey{}, errors.New("a job names no pusher")
	}
	return pusherKey{matrix.UserID(parts[0]), parts[1], parts[2]}, nil
}

// ask asks for the job of a pusher.
func (k pusherKey) ask(tx *store.Tx, delay time.Duration) error {
	text, err := k.text()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text) // the keys of jobs are logged, and a pushkey is not
	key := string(k.user) + " " + hex.EncodeToString(sum[:8])
	return tx.Enqueue(store.Job{Kind: jobPush, Key: key, Payload: text, Delay: delay})
}

// HasRead notes that a user has read something: their pushers are told how much is left. It is called in
// the transaction that stores the receipt.
func (p *Push) HasRead(tx *store.Tx, user matrix.UserID) error {
	keys, err := pusherKeys(tx, user)
	if err != nil {
		return fmt.Errorf("find the pushers of %s: %w", user, err)
	}
	for _, k := range keys {
		if err := k.ask(tx, badgeDelay); err != nil {
			return err
		}
	}
	return nil
}

// jobs are the workers that send.
func (p *Push) jobs() (*store.Jobs, error) {
	return store.NewJobs(p.db, store.JobHandler{Kind: jobPush, Do: p.deliver, Parallel: deliverers, Patience: deliverLimit})
}

// deliver sends what waits for one pusher, the oldest first; where nothing waits, how much is unread, if
// that is news. An error means that it is tried again, after a time that doubles.
func (p *Push) deliver(ctx context.Context, j store.Job) error {
	k, err := parsePusherKey(j.Payload)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		d, err := p.prepare(ctx, k, first)
		if err != nil || d == nil {
			return err
		}
		for _, n := range d.notes {
			if n.body != nil {
				if gone, err := p.send(ctx, d, n); err != nil || gone {
					return err
				}
			}
			err := p.db.Update(ctx, func(tx *store.Tx) error {
				if n.body != nil {
					if err := writeBadge(tx, k, d.unread); err != nil {
						return err
					}
				}
				return dequeue(tx, k, n.pos)
			})
			if err != nil {
				return fmt.Errorf("note what was sent: %w", err)
			}
		}
	}
}

// delivery is what is to be sent to a pusher.
type delivery struct {
	key    pusherKey
	pusher Pusher
	url    string
	unread int64
	notes  []note
}

// note is one notification. Without a body it is not sent any more.
type note struct {
	pos  int64
	body []byte
}

// prepare reads what is to be sent; nil: nothing. A count by itself is only told where nothing else was.
func (p *Push) prepare(ctx context.Context, k pusherKey, first bool) (d *delivery, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) error {
		d = nil
		pusher, created, badge, found, err := pusherOf(tx, k)
		if err != nil || !found {
			return err
		}
		list, err := waitingFor(tx, k, batchMost)
		if err != nil || len(list) == 0 && !first {
			return err
		}
		w := &composing{p: p, tx: tx, pusher: pusher, created: created}
		if err := w.begin(); err != nil {
			return err
		}
		if len(list) == 0 && w.unread == badge {
			return nil
		}
		d = &delivery{key: k, pusher: pusher, url: w.url, unread: w.unread}
		if len(list) == 0 {
			body, err := w.count()
			d.notes = []note{{body: body}}
			return err
		}
		for _, it := range list {
			body, err := w.event(it)
			if err != nil {
				return fmt.Errorf("describe event %d: %w", it.event, err)
			}
			d.notes = append(d.notes, note{it.pos, body})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is to be sent: %w", err)
	}
	return d, nil
}

// send gives a notification to the gateway. gone says that there is no pusher any more.
func (p *Push) send(ctx context.Context, d *delivery, n note) (gone bool, err error) {
	answer, err := p.gateways.notify(ctx, d.url, n.body)
	var refused *refusedError
	switch {
	case errors.As(err, &refused) && refused.forGood():
		p.log.Warn("a push gateway does not take a notification", "user", d.key.user, "app", d.key.app, "status", refused.status)
		pushes.WithLabelValues("refused").Inc()
		return false, nil
	case err != nil:
		pushes.WithLabelValues("failed").Inc()
		return false, fmt.Errorf("notify the gateway: %w", err)
	}
	pushes.WithLabelValues("sent").Inc()
	for _, key := range answer.Rejected {
		if key == d.key.key {
			pushes.WithLabelValues("rejected").Inc()
			p.log.Info("a push gateway rejects a pushkey: its pusher is deleted", "user", d.key.user, "app", d.key.app)
			return true, p.DeletePusher(ctx, d.key.user, d.key.app, d.key.key)
		}
	}
	return false, nil
}
