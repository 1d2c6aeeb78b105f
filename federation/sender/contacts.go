package sender

import (
	"context"
	"sync"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	// heardFor is how long the contact of a server is remembered: it is looked at once in this time.
	heardFor = time.Minute
	maxHeard = 10_000
	// maxContacts bounds the contacts that wait to be looked at; who comes later is heard of again.
	maxContacts = 1000
)

// contacts are the servers that this node has heard of.
type contacts struct {
	now   func() time.Time
	queue chan matrix.ServerName

	mu    sync.Mutex
	heard map[matrix.ServerName]time.Time
}

func newContacts(now func() time.Time) *contacts {
	return &contacts{now: now, queue: make(chan matrix.ServerName, maxContacts), heard: make(map[matrix.ServerName]time.Time)}
}

// failed makes the next contact count, where one has come while the server was thought to be reached.
func (c *contacts) failed(server matrix.ServerName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, heard := c.heard[server]; heard && c.now().Sub(at) < heardFor/2 {
		return // it has just been tried for being heard of
	}
	delete(c.heard, server)
}

// note says whether a contact is to be looked at.
func (c *contacts) note(server matrix.ServerName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if at, heard := c.heard[server]; heard && now.Sub(at) < heardFor {
		return false
	}
	if len(c.heard) >= maxHeard {
		for s, at := range c.heard {
			if now.Sub(at) >= heardFor || len(c.heard) >= maxHeard {
				delete(c.heard, s)
			}
		}
	}
	c.heard[server] = now
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
	return true, s.db.Update(ctx, func(tx *store.Tx) error {
		if err := endPause(tx, server); err != nil {
			return err
		}
		return s.Wake(tx, []matrix.ServerName{server})
	})
}
