package push

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/bus"
	"astrocyte/egress"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// ReadUpTo tells up to which place a user has read rooms, by thread; the thread "" is the room as a whole.
type ReadUpTo func(tx *store.Tx, user matrix.UserID, rooms []roomserver.RoomNID) (map[roomserver.RoomNID]map[string]int64, error)

// Options are what pushing needs.
type Options struct {
	DB       *store.DB
	Rooms    *roomserver.Rooms
	ReadUpTo ReadUpTo
	Log      *slog.Logger
	Now      func() time.Time

	// Extras are further rules that all users have.
	Extras Extras

	// Bus wakes the one that follows the stream; nil: Run only writes what was counted.
	Bus bus.Bus
	// Egress says which push gateways may be connected to; nil: those on public addresses.
	Egress *egress.Policy
}

// Push keeps the rules of the users, and what they have not read.
type Push struct {
	db       *store.DB
	rooms    *roomserver.Rooms
	readUpTo ReadUpTo
	log      *slog.Logger
	now      func() time.Time
	bus      bus.Bus
	gateways *gateways

	defaults *Defaults
	threads  bool // users subscribe to threads
	compiled *lru.Cache[compiledKey, *Evaluator]
	sums     *lru.Cache[sumKey, *sum]
	mu       sync.Mutex
	dirty    map[sumKey]*sum // to be written
}

// compiledKey is a user and the position of the change up to which their rules are compiled.
type compiledKey struct {
	user matrix.UserID
	pos  int64
}

const (
	compiledMost = 16 << 20 // bytes, about
	sumsMost     = 100_000
	dirtyMost    = 10_000
	flushEvery   = 5 * time.Second
)

// New makes it.
func New(o Options) *Push {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Push{
		db: o.DB, rooms: o.Rooms, readUpTo: o.ReadUpTo, log: o.Log, now: o.Now,
		bus: o.Bus, gateways: newGateways(o.Egress, o.Now),
		defaults: NewDefaults(o.Extras), threads: o.Extras.Threads,
		compiled: lru.New[compiledKey, *Evaluator](compiledMost),
		sums:     lru.New[sumKey, *sum](sumsMost),
		dirty:    make(map[sumKey]*sum),
	}
	if o.Rooms != nil {
		o.Rooms.OnPurge(roomserver.PurgeHooks{
			Deserted: []func(*store.Tx, roomserver.RoomNID, matrix.RoomID, []matrix.UserID) error{p.deserted},
		})
	}
	return p
}

// Run follows the stream, sends to gateways and writes what was counted, until ctx ends.
func (p *Push) Run(ctx context.Context) error {
	if p.bus == nil {
		return p.flushes(ctx)
	}
	jobs, err := p.jobs()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.flushes(ctx) })
	g.Go(func() error { return p.follow(ctx, p.bus) })
	g.Go(func() error { return jobs.Run(ctx) })
	return g.Wait()
}

func (p *Push) flushes(ctx context.Context) error {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			p.flush(last)
			return nil
		case <-flush.C:
			p.flush(ctx)
		}
	}
}

// DevicesGone removes the pushers of devices that are deleted: a hook for package account.
func (p *Push) DevicesGone(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	return deletePushers(tx, user, devices)
}

// Deactivated removes all of a user whose account ends: a hook for package account.
func (p *Push) Deactivated(tx *store.Tx, user matrix.UserID, _ bool) error {
	return deleteUser(tx, user)
}
