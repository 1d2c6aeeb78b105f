package sender

import (
	"context"
	"sync"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	// heardFor is how long the contact of a server is remembered, which is looked at once in this time; probedFor is the
	// same where the server was tried for it.
	heardFor  = time.Minute
	probedFor = 10 * time.Second
	maxHeard  = 10_000
	// maxContacts bounds the contacts that wait to be looked at; who comes later is heard of again.
	maxContacts = 1000
)

// contacts are the servers that this node has heard of.
type contacts struct {
	now   func() time.Time
	queue chan matrix.ServerName

	mu    sync.Mutex
	heard map[matrix.ServerName]heard
}

// heard is when a server was heard of, and whether it was left alone then, and so tried.
type heard struct {
	at     time.Time
	probed bool
}

// counts says whether the next contact is to be looked at.
func (h heard) counts(now time.Time) bool {
	return now.Sub(h.at) >= heardFor || h.probed && now.Sub(h.at) >= probedFor
}

func newContacts(now func() time.Time) *contacts {
	return &contacts{now: now, queue: make(chan matrix.ServerName, maxContacts), heard: make(map[matrix.ServerName]heard)}
}

// failed makes the next contact count, where one has come while the server was thought to be reached.
func (c *contacts) failed(server matrix.ServerName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.heard[server].probed {
		delete(c.heard, server)
	}
}

// probed notes that a server is tried for being heard of.
func (c *contacts) probed(server matrix.ServerName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.heard[server]; known {
		c.heard[server] = heard{c.now(), true}
	}
}

// note says whether a contact is to be looked at.
func (c *contacts) note(server matrix.ServerName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if h, known := c.heard[server]; known && !h.counts(now) {
		return false
	}
	if len(c.heard) >= maxHeard {
		for s, h := range c.heard {
			if h.counts(now) || len(c.heard) >= maxHeard {
				delete(c.heard, s)
			}
		}
	}
	c.heard[server] = heard{at: now}
	return true
}

// Contact says that a server was heard of, by a request that it has signed: where it was left alone it is tried
// at once. It never waits.
func (s *Sender) Contact(server matrix.ServerName) {
	if !s.contacts.note(server) {
		return
	}
	select {
	case s.contacts.queue <- server:
	default:
	}
}

// heed looks at the servers that were heard of.
func (s *Sender) heed(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case server := <-s.contacts.queue:
			if _, err := s.tryAgain(ctx, server); err != nil && ctx.Err() == nil {
				s.log.Warn("try a server again that was heard of", "server", server, "error", err)
			}
		}
	}
}

// tryAgain makes a server due that is left alone; false: it is not.
func (s *Sender) tryAgain(ctx context.Context, server matrix.ServerName) (bool, error) {
	left := false
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		left, err = isLeftAlone(tx, server)
		return err
	})
	if err != nil || !left {
		return false, err
	}
	s.contacts.probed(server)
	return true, s.db.Update(ctx, func(tx *store.Tx) error {
		if err := endPause(tx, server); err != nil {
			return err
		}
		return s.Wake(tx, []matrix.ServerName{server})
	})
}
