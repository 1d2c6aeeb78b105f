package roomserver

import (
	"context"
	"time"

	"astrocyte/store"
)

const (
	// txnsKept is for how long a repeated transaction id is answered as the first time. Clients repeat requests
	// within minutes; one that was offline does not remember more than it had in its queue.
	txnsKept = 7 * 24 * time.Hour
	// sweepEvery is the pause between two shards, so that all 256 have their turn within a day. Nobody needs an
	// index by time for it, which every message would pay for.
	sweepEvery = 5 * time.Minute
	sweepLease = time.Minute
)

// sweep forgets old transaction ids, a shard at a time, on one node, until ctx ends.
func (r *Rooms) sweep(ctx context.Context) error {
	return r.db.Alone(ctx, "sweep transaction ids", r.process, sweepLease, func(ctx context.Context, _ store.Lease) error {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for shard := r.firstShard(); ; shard = (shard + 1) % shards {
			if err := r.sweepShard(ctx, shard); err != nil && ctx.Err() == nil {
				r.log.Error("forget old transaction ids", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
}

// shards is how many shards there are.
const shards = 256

// firstShard is where sweeping begins: by the clock, so that a node which is restarted often gets to all.
func (r *Rooms) firstShard() int64 {
	return r.now().UnixMilli() / sweepEvery.Milliseconds() % shards
}

func (r *Rooms) sweepShard(ctx context.Context, shard int64) error {
	before := r.now().Add(-txnsKept).UnixMilli()
	return r.db.Update(ctx, func(tx *store.Tx) error { return deleteTxns(tx, shard, before) })
}
