package sender

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/bus"
	"astrocyte/e2ee"
	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what sending needs.
type Options struct {
	DB     *store.DB
	Bus    bus.Bus
	Rooms  *roomserver.Rooms
	Client *peer.Client
	// Encryption keeps the messages to devices and the changed devices that wait for other servers.
	Encryption *e2ee.Encryption
	Log        *slog.Logger
	Now        func() time.Time
	// Pause is how long a server that is not reached is left alone at first: five seconds where it is not said.
	Pause time.Duration
}

const (
	// parallel bounds the servers that are sent to at the same time; of those that were not reached last, a part,
	// so that the dead do not keep the living waiting.
	parallel = 128
	probes   = 32
)

// follower names the cursor of what marks events for other servers.
const follower = "federation"

// Sender brings events and EDUs to other servers.
type Sender struct {
	db       *store.DB
	bus      bus.Bus
	rooms    *roomserver.Rooms
	client   *peer.Client
	log      *slog.Logger
	now      func() time.Time
	node     string // who holds the claims
	pause    time.Duration
	passing  *passing
	contacts *contacts

	greetings chan matrix.ServerName // servers to greet

	encryption *e2ee.Encryption
}

// New makes the sender.
func New(o Options) *Sender {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pause == 0 {
		o.Pause = pauseLeast
	}
	return &Sender{
		db: o.DB, bus: o.Bus, rooms: o.Rooms, client: o.Client, encryption: o.Encryption, log: o.Log, now: o.Now, node: o.Rooms.Process(),
		pause: o.Pause, passing: newPassing(o.Now), contacts: newContacts(o.Now), greetings: make(chan matrix.ServerName),
	}
}

// Run sends until the context ends.
func (s *Sender) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.rooms.Follow(ctx, s.bus, roomserver.Follower{Name: follower, Node: s.node, Take: s.mark})
	})
	g.Go(func() error { return s.dispatch(ctx) })
	g.Go(func() error { return s.heed(ctx) })
	g.Go(func() error { return s.observe(ctx) })
	g.Go(func() error {
		if err := s.greet(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("greet other servers", "error", err)
		}
		return nil
	})
	return g.Wait()
}

// admits says whether this server speaks with another.
func (s *Sender) admits(server matrix.ServerName) bool {
	return server != s.rooms.Server() && s.client.Admits(server)
}
