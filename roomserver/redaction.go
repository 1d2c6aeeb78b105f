package roomserver

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// redaction is the effect of an accepted redaction on an event of the same room.
type redaction struct {
	target, by int64
	of         *Event // the target
}

// awaited is a redaction of an event that is not here yet.
type awaited struct {
	room   RoomNID
	target matrix.EventID
	by     int64
}

// withheld is why a redaction is not shown: clients would do what it says.
const withheld = "it redacts nothing that is here and that its sender may redact"

// noteRedaction stages the effect of a redaction whose sender may redact its target by a state, and says whether it has
// one. Where the target is not here, the redaction waits for it.
//
// Spec: RV 3 "Handling redactions".
func (b *batch) noteRedaction(h *head, st *state.State, e *Event) (bool, error) {
	if e.Type() != "m.room.redaction" || !storable(string(e.Redacts())) {
		return false, nil
	}
	target, err := b.eventByID(h.nid, e.Redacts())
	if err != nil {
		return false, err
	}
	if target == nil {
		b.awaited = append(b.awaited, awaited{h.nid, e.Redacts(), e.NID})
		return false, nil
	}
	return b.redactBy(st, e, target)
}

// redactBy stages the effect of a redaction, if a state allows it.
func (b *batch) redactBy(st *state.State, e, target *Event) (bool, error) {
	pl, err := b.stateEventIn(st, rules.StateKey{Type: "m.room.power_levels"})
	if err != nil {
		return false, err
	}
	create, err := b.stateEventIn(st, rules.StateKey{Type: "m.room.create"})
	if err != nil {
		return false, err
	}
	if target.Sender().Server() != e.Sender().Server() && !rules.Levels(bare(create), bare(pl)).MayRedact(e.Sender()) {
		return false, nil
	}
	b.redact = append(b.redact, redaction{target: target.NID, by: e.NID, of: target})
	return true, nil
}

// reveal shows a redaction that was withheld until its target came. One of this batch stays as it is: nobody has seen its
// target but in redacted form.
func (b *batch) reveal(h *head, e *Event) error {
	if _, here := b.byNID[e.NID]; here || !e.settled() {
		return nil
	}
	if _, shown, err := itemOf(b.tx, e.NID); err != nil || shown {
		return err
	}
	b.know(e)
	b.show(h, &staged{Event: e})
	return nil
}

// noteAwaited stages the effect of redactions that came before their target, and lets those that have one be revealed.
func (b *batch) noteAwaited(h *head, target *Event, reveal func(h *head, e *Event) error) error {
	by, looked := b.before.awaited[target.ID()]
	if !looked {
		var err error
		if by, err = awaitedBy(b.tx, h.nid, target.ID()); err != nil {
			return fmt.Errorf("look for redactions of %s: %w", target.ID(), err)
		}
	}
	by = slices.Clone(by)
	for _, a := range b.awaited {
		if a.room == h.nid && a.target == target.ID() {
			by = append(by, a.by)
		}
	}
	for _, nid := range by {
		e, err := b.event(nid)
		if err != nil {
			return err
		}
		st, err := b.load(e.SnapBefore)
		if err != nil {
			return err
		}
		redacts, err := b.redactBy(st, e, target)
		if err != nil {
			return err
		}
		if redacts && reveal != nil {
			if err := reveal(h, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// JobForget is the kind of the job that removes what a redaction has taken from an event out of the database. Its key
// is the event's nid.
const JobForget = "forget redacted"

// forgetLater lets what was redacted be forgotten after a while, in which it may be looked at by those who can
// reach the database.
func (b *batch) forgetLater() error {
	if b.r.keepRedacted <= 0 {
		return nil
	}
	for _, r := range b.redact {
		key := strconv.FormatInt(r.target, 10)
		if err := b.tx.Enqueue(store.Job{Kind: JobForget, Key: key, Delay: b.r.keepRedacted}); err != nil {
			return fmt.Errorf("let %s be forgotten: %w", r.of.ID(), err)
		}
	}
	return nil
}

// ForgetRedacted does a job of the kind JobForget: of a redacted event only that is kept which everybody may see.
// The event's id, which is made of that, stays as it is.
func (r *Rooms) ForgetRedacted(ctx context.Context, j store.Job) error {
	nid, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return fmt.Errorf("a job names the event %q: %w", j.Key, err)
	}
	return r.db.Update(ctx, func(tx *store.Tx) error {
		events, err := r.Events(tx, []int64{nid})
		if err != nil {
			return err
		}
		e := events[nid]
		if e == nil || e.RedactedBy == 0 {
			return nil // purged meanwhile
		}
		tx.AfterCommit(func() { r.events.Delete(nid) })
		return replaceBytes(tx, nid, e.Event.Redact().Bytes())
	})
}
