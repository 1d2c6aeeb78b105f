package roomserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/store"
)

// JobSticky is the kind of jobs that look again at sticky events that were soft-failed. The key of each is the number of
// a room.
const JobSticky = "sticky"

// mayStick notes that the event that was kept last is one of those that are looked at again when the room's state changes.
// One that its policy server does not recommend is none.
func (b *batch) mayStick() {
	k := b.kept[len(b.kept)-1]
	if k.Tuple == 0 && k.Sticky() > 0 {
		k.until = stickyTime(k.Event, b.r.now().UnixMilli())
	}
}

// reviewSticky has sticky events that were soft-failed looked at again in the rooms whose state has changed.
//
// Spec: MSC4354, "Re-evaluate soft-failure".
func (b *batch) reviewSticky() error {
	now := b.r.now().UnixMilli()
	for _, k := range b.kept {
		if k.until <= now {
			continue
		}
		if err := insertRefused(b.tx, k.Room, k.NID, k.until, now); err != nil {
			return err
		}
	}
	var changed []RoomNID
	for nid, h := range b.rooms {
		if h.changed && !h.fresh {
			changed = append(changed, nid)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	rooms, err := withRefused(b.tx, changed, now)
	if err != nil {
		return err
	}
	for _, room := range rooms {
		if err := b.tx.Enqueue(store.Job{Kind: JobSticky, Key: room.String()}); err != nil {
			return err
		}
	}
	return nil
}

// refusedOne is a sticky event that was soft-failed.
type refusedOne struct {
	*Event
	until int64
}

// ReviewSticky does a job of the kind JobSticky: what the state of the room allows by now is taken into it.
func (r *Rooms) ReviewSticky(ctx context.Context, j store.Job) error {
	nid, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return fmt.Errorf("the key of a job names no room: %w", err)
	}
	allowed, err := r.allowedBy(ctx, RoomNID(nid))
	if err != nil {
		return fmt.Errorf("find sticky events that were soft-failed: %w", err)
	}
	for _, e := range allowed {
		_, err := r.receive(ctx, &reception{r: r, ev: e.Event.Event, again: e.until})
		var wrong *matrix.Error // we are not in the room any more
		if err != nil && !errors.As(err, &wrong) {
			return fmt.Errorf("look at %s again: %w", e.ID(), err)
		}
	}
	return nil
}

// allowedBy finds those soft-failed sticky events of a room that its state allows. It is asked for all at once, since
// there may be many that stay what they are.
func (r *Rooms) allowedBy(ctx context.Context, room RoomNID) (allowed []refusedOne, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		allowed = nil
		nids, until, err := refusedSticky(tx, room, r.now().UnixMilli(), stickyMost)
		if err != nil || len(nids) == 0 {
			return err
		}
		events, err := r.Events(tx, nids)
		if err != nil {
			return err
		}
		heads, err := r.Heads(tx, []RoomNID{room})
		if err != nil {
			return err
		}
		st, err := r.states.Load(tx, heads[room].Snap)
		if err != nil {
			return err
		}
		look := newBatch(ctx, r, tx)
		for i, nid := range nids {
			e := events[nid]
			if e == nil || e.Status != statusSoftFailed || e.RedactedBy != 0 {
				continue
			}
			why, err := look.refusal(st, e.Event)
			if err != nil {
				return err
			}
			if why == nil {
				allowed = append(allowed, refusedOne{e, until[i]})
			}
		}
		return nil
	})
	return allowed, err
}

// reconsider takes an event into the timeline that was soft-failed, where the room's state allows it now. The graph stays
// as it is: what was built meanwhile may follow the event already.
func (c *reception) reconsider(h *head) (Status, error) {
	old, err := c.b.eventByID(h.nid, c.ev.ID())
	if err != nil || old == nil || old.Status != statusSoftFailed || old.RedactedBy != 0 || c.again <= c.r.now().UnixMilli() {
		return SoftFailed, err
	}
	why, err := c.b.refusedBy(h.state, c.ev, "by the current state")
	if why == "" && err == nil {
		why, err = c.unrecommended(h)
	}
	if why != "" || err != nil {
		return SoftFailed, err
	}
	e := *old
	e.Event, e.Status = c.ev, statusAccepted
	tx := c.b.tx
	c.b.later = append(c.b.later, func() error { return deleteRefused(tx, e.Room, e.NID) })
	return Accepted, c.b.place(h, &staged{Event: &e, until: c.again}, h.state, h.extremities)
}
