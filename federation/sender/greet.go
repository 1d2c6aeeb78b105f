package sender

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	// greetMost bounds the servers that are greeted, greetAtOnce how many at a time, greetPace how fast.
	greetMost   = 5000
	greetAtOnce = 16
	greetPace   = 20 * time.Millisecond
	greetTime   = 15 * time.Second
	// greetAgain is how long it takes at least until they are greeted again, but by who comes after one that stopped in
	// order: nodes may start one after another, or again and again.
	greetAgain = 5 * time.Minute
	// greeterTime is how long it takes to be sure that who greeted last has died, and greetLook how often it is looked then
	// whether it is time to greet.
	greeterTime = 15 * time.Second
	greetLook   = time.Second
	releaseTime = 5 * time.Second
)

// greet tells the servers with which rooms are shared that this one is there again: to hear of it ends their pause, if
// they could not reach it, and what was missed comes at once. It hands them to the dispatcher, since a server is sent one
// transaction at a time. Where they were greeted a moment ago by a node that lives, they know; where it has died since,
// they are greeted once that moment is over.
func (s *Sender) greet(ctx context.Context) error {
	began, me := time.Now(), rand.Text() // a process that comes after another is another
	lease, greeted, err := s.greetNow(ctx, me)
	if err != nil {
		return err
	}
	err = s.db.Alone(ctx, "federation greeter", me, greeterTime, func(ctx context.Context, _ store.Lease) error {
		for !greeted && time.Since(began) < greetAgain+2*greeterTime { // who has been there for longer was heard of
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(greetLook):
			}
			if lease, greeted, err = s.greetNow(ctx, me); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	})
	if !greeted {
		return err
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if err := s.db.Release(stop, lease); err != nil { // who starts next greets all the same, after a while
		s.log.Debug("the lease of greetings ends by itself", "error", err)
	}
	return err
}

// greetNow greets, unless that was done a moment ago.
func (s *Sender) greetNow(ctx context.Context, me string) (store.Lease, bool, error) {
	lease, free, err := s.db.Acquire(ctx, "federation greeting", me, greetAgain)
	if err == nil && free {
		err = s.greetAll(ctx)
	}
	return lease, free, err
}

// greetAll greets all servers with which rooms are shared.
func (s *Sender) greetAll(ctx context.Context) error {
	var servers []matrix.ServerName
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		servers, err = readNeighbours(tx, s.rooms.Server(), greetMost)
		return err
	})
	if err != nil {
		return fmt.Errorf("find the servers with which rooms are shared: %w", err)
	}
	pace := time.NewTicker(greetPace)
	defer pace.Stop()
	for _, server := range s.admitted(servers) {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case s.greetings <- server:
		}
	}
	return nil
}

// takeToGreet takes a server to greet it, unless somebody sends to it already.
func (d *dispatcher) takeToGreet(ctx context.Context, server matrix.ServerName) error {
	if _, running := d.running[server]; running {
		return nil
	}
	var claims []claim
	err := d.db.Update(ctx, func(tx *store.Tx) (err error) {
		claims, err = d.takeNamed(tx, []matrix.ServerName{server})
		return err
	})
	if err != nil {
		return fmt.Errorf("claim a destination: %w", err)
	}
	for _, c := range claims {
		c.greeting = true
		d.launch(ctx, c)
	}
	return nil
}

// greetOne sends an empty transaction. A server that cannot be reached by it is left as it is.
func (s *Sender) greetOne(ctx context.Context, server matrix.ServerName) {
	now := s.now().UnixMilli()
	t := &transaction{server: server}
	err := s.client.Do(ctx, server, peer.Request{
		Method: http.MethodPut, Path: peer.Path("/_matrix/federation/v1/send", t.id(now)),
		Body: t.body(s.rooms.Server(), now), Into: new(json.RawMessage), Limit: maxAnswer, Timeout: greetTime,
	})
	if err != nil {
		s.log.Debug("another server was not greeted", "server", server, "error", err)
	}
}
