package inbound

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/e2ee"
	"astrocyte/ephemeral"
	"astrocyte/federation/peer"
	"astrocyte/federation/remote"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what taking transactions needs.
type Options struct {
	DB         *store.DB
	Rooms      *roomserver.Rooms
	Keys       *peer.Keys
	Remote     *remote.Remote
	Encryption *e2ee.Encryption
	Ephemeral  *ephemeral.Ephemeral
	// Presence takes the presence of other servers' users.
	Presence bool
	Log      *slog.Logger
	Now      func() time.Time
}

// takesEDU takes the content of an EDU from the server that signed the transaction. A *matrix.Error means that the
// EDU is wrong, any other error that the transaction must not be acknowledged.
type takesEDU func(ctx context.Context, from matrix.ServerName, content json.RawMessage) error

// Inbound takes the transactions of other servers.
type Inbound struct {
	db        *store.DB
	rooms     *roomserver.Rooms
	keys      *peer.Keys
	remote    *remote.Remote
	ephemeral *ephemeral.Ephemeral
	log       *slog.Logger
	now       func() time.Time
	turns     *turns
	lanes     *lanes
	lasting   map[string]takesEDU // by type: before the transaction is answered
	passing   map[string]takesEDU // afterwards
	late      *late
}

const (
	// receivers and fillers bound the rooms of which events are received at a time; the latter ask other
	// servers meanwhile.
	receivers = 32
	fillers   = 32
	// receiveTime and fillTime bound a run of their jobs, and so how long a room waits whose node died meanwhile.
	receiveTime = time.Minute
	fillTime    = 2 * time.Minute
	sweepEvery  = 10 * time.Minute
	answersKept = 24 * time.Hour
)

// New makes it.
func New(o Options) *Inbound {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &Inbound{
		db: o.DB, rooms: o.Rooms, keys: o.Keys, remote: o.Remote, ephemeral: o.Ephemeral, log: o.Log, now: o.Now,
		turns: newTurns(), lanes: newLanes(), late: newLate(), lasting: make(map[string]takesEDU), passing: make(map[string]takesEDU),
	}
	if o.Encryption != nil {
		for kind, takes := range o.Encryption.EDUs() {
			i.lasting[kind] = takes
		}
	}
	if o.Ephemeral != nil {
		i.passing["m.typing"] = i.takeTyping
		i.passing["m.receipt"] = i.takeReceipts
		if o.Presence {
			i.passing["m.presence"] = i.takePresence
		}
	}
	return i
}

// Run receives what was taken, until the context ends.
func (i *Inbound) Run(ctx context.Context) error {
	jobs, err := store.NewJobs(i.db,
		store.JobHandler{Kind: jobReceive, Do: i.receiveRoom, Parallel: receivers, Patience: receiveTime},
		store.JobHandler{Kind: jobFill, Do: i.fillRoom, Parallel: fillers, Patience: fillTime},
		store.JobHandler{Kind: jobArrived, Do: i.receiveArrived, Parallel: receivers, Patience: receiveTime},
	)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return jobs.Run(ctx) })
	g.Go(func() error { return i.keepHouse(ctx) })
	for _, lane := range i.lanes.of {
		g.Go(func() error { return i.runLane(ctx, lane) })
	}
	return g.Wait()
}

// keepHouse tries receipts again that came too early, and forgets old answers.
func (i *Inbound) keepHouse(ctx context.Context) error {
	tick, sweep := time.NewTicker(lateEvery), time.NewTicker(sweepEvery)
	defer tick.Stop()
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			err = i.retryReceipts(ctx)
		case <-sweep.C:
			before := i.now().Add(-answersKept).UnixMilli()
			err = i.db.Update(ctx, func(tx *store.Tx) error { return deleteAnswers(tx, before) })
		}
		if err != nil && ctx.Err() == nil {
			i.log.Warn("keep what other servers sent", "error", err)
		}
	}
}
