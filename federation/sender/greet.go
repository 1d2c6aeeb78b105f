package sender

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

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
	// greetAgain is how long it takes at least until they are greeted again: nodes may start one after another.
	greetAgain = 5 * time.Minute
)

// greet tells the servers with which rooms are shared that this one is there again: to hear of it ends their pause, if
// they could not reach it, and what was missed comes at once. It is an empty transaction. One that cannot be reached is
// left alone.
func (s *Sender) greet(ctx context.Context) error {
	_, first, err := s.db.Acquire(ctx, "federation greeting", s.node, greetAgain)
	if err != nil || !first {
		return err
	}
	var servers []matrix.ServerName
	err = s.db.View(ctx, func(tx *store.Tx) error {
		servers, err = readNeighbours(tx, s.rooms.Server(), greetMost)
		return err
	})
	if err != nil {
		return fmt.Errorf("find the servers with which rooms are shared: %w", err)
	}
	pace := time.NewTicker(greetPace)
	defer pace.Stop()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(greetAtOnce)
	for _, server := range s.admitted(servers) {
		select {
		case <-ctx.Done():
		case <-pace.C:
			g.Go(func() error {
				s.greetOne(ctx, server)
				return nil
			})
		}
	}
	return g.Wait()
}

// greetOne sends an empty transaction.
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
