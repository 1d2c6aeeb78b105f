package roomserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// How much a resolution may cost, in events and references visited. A room that needs more is parked: its
// resolutions are done one after another with those of others like it, beside everything else.
const (
	budget       = 5_000_000
	budgetParked = 400_000_000
)

var (
	resolutionTime = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "astrocyte_rooms_resolution_seconds",
		Help:    "How long state resolutions took.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
	})
	resolutionsParked = promauto.NewCounter(prometheus.CounterOpts{
		Name: "astrocyte_rooms_resolutions_parked_total",
		Help: "State resolutions that were over the budget, and done one after another.",
	})
	resolutionLosses = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_rooms_resolution_losses_total",
		Help: "State resolutions that took from a room its create event, its power levels, or members of this server.",
	}, []string{"what"})
)

// resolve makes the one state that a try needs.
func (c *reception) resolve(ctx context.Context, u *unresolved) error {
	c.remember()
	sets := make([][]state.Entry, len(u.sets))
	for i, s := range u.sets {
		sets[i] = s.Entries()
	}
	began := time.Now()
	got, err := c.r.resolve(ctx, u, c.room, sets)
	resolutionTime.Observe(time.Since(began).Seconds())
	if err != nil {
		return err
	}
	for i, s := range sets {
		if slices.Equal(s, got) {
			c.memory[u.label] = u.sets[i]
			return nil
		}
	}
	changes := state.Changes(u.base.Entries(), got)
	st, err := c.r.states.Next(ctx, int64(c.room), u.base, changes)
	if err != nil {
		return err
	}
	c.memory[u.label] = st
	if st != u.base {
		c.fresh[st.NID()] = true
	}
	return c.r.noteLosses(ctx, c.room, state.Lost(sets, got))
}

// resolve resolves states within the budget, or else in the lane of parked rooms.
func (r *Rooms) resolve(ctx context.Context, u *unresolved, room RoomNID, sets [][]state.Entry) ([]state.Entry, error) {
	src := r.source(ctx, room, u.made)
	got, err := r.graphs.Resolve(u.version, int64(room), sets, src, budget)
	if !errors.Is(err, rules.ErrBudget) {
		return got, err
	}
	resolutionsParked.Inc()
	r.log.Warn("a room is parked: its state costs much to resolve", "room", int64(room), "states", len(sets))
	select {
	case r.parked <- struct{}{}:
		defer func() { <-r.parked }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return r.graphs.Resolve(u.version, int64(room), sets, src, budgetParked)
}

// source is where a resolution finds events and tuples. Each look is a transaction of its own: a long
// resolution holds none open. made are events that are not stored yet.
func (r *Rooms) source(ctx context.Context, room RoomNID, made map[int64]*Event) *state.Source {
	return &state.Source{
		Links: func(nids []int64) ([]state.Link, error) {
			var out []state.Link
			nids = slices.DeleteFunc(slices.Clone(nids), func(nid int64) bool {
				e, ok := made[nid]
				if ok {
					out = append(out, state.Link{NID: nid, Rank: e.Rank, Auth: e.AuthNIDs})
				}
				return ok
			})
			err := r.db.View(ctx, func(tx *store.Tx) error {
				links, err := readLinks(tx, nids)
				out = append(out, links...)
				return err
			})
			return out, err
		},
		Events: func(nids []int64) ([]*rules.Event, error) {
			var found map[int64]*Event
			err := r.db.View(ctx, func(tx *store.Tx) (err error) {
				found, err = r.held(tx, nids)
				return err
			})
			out := make([]*rules.Event, len(nids))
			for i, nid := range nids {
				e := found[nid]
				if m, ok := made[nid]; ok {
					e = m
				}
				if e != nil && e.Status != statusRejected && e.Room == room {
					out[i] = e.Event
				}
			}
			return out, err
		},
		Tuples: func(keys []rules.StateKey) ([]int64, error) {
			out := make([]int64, len(keys))
			err := r.db.View(ctx, func(tx *store.Tx) error {
				for i, k := range keys {
					var err error
					if out[i], _, err = r.states.Tuple(tx, k); err != nil {
						return err
					}
				}
				return nil
			})
			return out, err
		},
	}
}

// noteLosses tells when a resolution took from a room what one of the states had, and what holds the room
// together. Such a thing is mostly an attack, or servers that have lost each other.
func (r *Rooms) noteLosses(ctx context.Context, room RoomNID, tuples []int64) error {
	if len(tuples) == 0 {
		return nil
	}
	var keys map[int64]rules.StateKey
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		keys, err = r.states.Keys(tx, tuples)
		return err
	})
	if err != nil {
		return fmt.Errorf("name what a resolution took: %w", err)
	}
	for _, tuple := range tuples {
		what := ""
		switch key := keys[tuple]; {
		case key.Type == "m.room.create" || key.Type == "m.room.power_levels":
			what = key.Type
		case key.Type == "m.room.member" && r.ours(matrix.UserID(key.Key)):
			what = "member"
		}
		if what != "" {
			resolutionLosses.WithLabelValues(what).Inc()
			r.log.Warn("a state resolution took something from a room", "room", int64(room), "what", what, "key", keys[tuple].Key)
		}
	}
	return nil
}
