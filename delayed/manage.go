package delayed

import (
	"context"
	"fmt"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Cancel ends an event without sending it. by is its user, or empty for who knows its id.
func (d *Delayed) Cancel(ctx context.Context, by matrix.UserID, id string) error {
	return d.db.Update(ctx, func(tx *store.Tx) error {
		e, err := find(tx, id, by, true)
		if err != nil {
			return err
		}
		if e.Ended != 0 {
			return e.conflict(e.Sent == "")
		}
		eventsTotal.WithLabelValues("cancelled").Inc()
		return end(tx, e.ID, e.User, d.millis(), "", nil)
	})
}

// Restart begins the delay of an event anew.
func (d *Delayed) Restart(ctx context.Context, by matrix.UserID, id string) error {
	return d.db.Update(ctx, func(tx *store.Tx) error {
		e, err := find(tx, id, by, true)
		if err != nil {
			return err
		}
		if e.Ended != 0 {
			return e.conflict(false)
		}
		e.Since = d.millis()
		return postpone(tx, e.ID, e.User, e.Since, e.due())
	})
}

// conflict refuses what an event that is over cannot be any more. What it is already is no conflict, so
// that a request can be repeated.
func (e *Event) conflict(same bool) error {
	switch {
	case same:
		return nil
	case e.Sent != "":
		return matrix.E(matrix.CodeUnknown, "the event was sent already").WithStatus(409)
	}
	return matrix.E(matrix.CodeUnknown, "the event was cancelled").WithStatus(409)
}

// Send sends an event at once. Where that is refused it waits on.
func (d *Delayed) Send(ctx context.Context, by matrix.UserID, id string) error {
	var e Event
	err := d.db.View(ctx, func(tx *store.Tx) (err error) {
		e, err = find(tx, id, by, false)
		return err
	})
	if err != nil {
		return err
	}
	return d.send(ctx, e, func(now *Event) error {
		if now.Ended != 0 {
			return now.conflict(false)
		}
		return nil
	})
}

// send sends an event into its room, if may allows it when its row is locked.
func (d *Delayed) send(ctx context.Context, e Event, may func(now *Event) error) error {
	if e.Ended != 0 {
		return e.conflict(e.Sent != "")
	}
	u, err := d.mayAct(ctx, e)
	if err != nil {
		return err
	}
	draft := roomserver.Draft{
		Room: e.Room, Sender: e.User, Type: e.Type, StateKey: e.StateKey, Content: e.Content, Timestamp: e.Timestamp, Sticky: e.Sticky,
		Txn: &roomserver.Txn{Scope: "delayed", ID: e.ID},
		Delay: &roomserver.Delay{
			Due: func(tx *store.Tx) error {
				now, err := find(tx, e.ID, "", true)
				if err != nil {
					return err
				}
				return may(&now)
			},
			Sent: func(tx *store.Tx, id matrix.EventID) error { return end(tx, e.ID, e.User, d.millis(), id, nil) },
		},
	}
	if err := draft.FindRedacts(); err != nil {
		return err
	}
	if u.Shadowed {
		return d.db.Update(ctx, func(tx *store.Tx) error {
			if err := draft.Delay.Due(tx); err != nil {
				return err
			}
			return draft.Delay.Sent(tx, d.rooms.PretendedID(&draft))
		})
	}
	if _, err := d.rooms.Send(ctx, draft); err != nil {
		return fmt.Errorf("send the delayed event %s: %w", e.Type, err)
	}
	eventsTotal.WithLabelValues("sent").Inc()
	return nil
}

// mayAct finds the user of an event, and refuses those who may send none by now, or too many at once.
func (d *Delayed) mayAct(ctx context.Context, e Event) (account.User, error) {
	u, found, err := d.accounts.User(ctx, e.User)
	switch {
	case err != nil:
		return u, err
	case !found || u.Deactivated != 0:
		return u, matrix.E(matrix.CodeUserDeactivated, "this account has been deactivated")
	case u.Locked:
		return u, matrix.E(matrix.CodeUserLocked, "this account is locked")
	case u.Suspended:
		return u, matrix.E(matrix.CodeUserSuspended, "this account is suspended")
	case e.Unlimited:
		return u, nil
	}
	return u, d.limiter.Caller("message", &httpapi.Caller{User: e.User, Unlimited: u.Limit.Rate == 0, Messages: u.Limit.Messages()})
}
