// Package policy is what keeps a server decent: what users report to its administrators, and what these tell
// them.
//
// Invariants:
//   - who reports something learns nothing by it, not even whether it exists;
//   - what does not exist, or the reporter could not see, is not kept;
//   - a user has one room of notices, tagged as such, whose invite they cannot refuse.
package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"astrocyte/account"
	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what the policy needs.
type Options struct {
	DB       *store.DB
	Rooms    *roomserver.Rooms
	Accounts *account.Accounts
	Notices  config.Notices
	From     matrix.UserID      // who sends notices; empty: nobody
	Version  matrix.RoomVersion // of the rooms of notices
	Now      func() time.Time
}

// Policy takes reports, shows them to administrators, and sends notices.
type Policy struct {
	db       *store.DB
	rooms    *roomserver.Rooms
	accounts *account.Accounts
	notices  config.Notices
	from     matrix.UserID
	version  matrix.RoomVersion
	now      func() time.Time
}

// New makes the policy.
func New(o Options) *Policy {
	return &Policy{db: o.DB, rooms: o.Rooms, accounts: o.Accounts, notices: o.Notices, from: o.From, version: o.Version, now: o.Now}
}

// Report is something that a user finds wrong: an event (Room and Event are set), a room (Room alone), or
// a user (User alone).
type Report struct {
	ID       int64 // rises with time on each node
	Reporter matrix.UserID
	Room     matrix.RoomID
	Event    matrix.EventID
	User     matrix.UserID // the one who is reported, or who sent the event
	Reason   string
	At       int64 // milliseconds
}

// reasonMost bounds what a reporter writes, in bytes.
const reasonMost = 10_000

// Report keeps a report. ID, At and the sender of an event are filled in.
//
// Spec: CS "Reporting Content".
func (p *Policy) Report(ctx context.Context, r Report) error {
	if len(r.Reason) > reasonMost {
		return matrix.E(matrix.CodeTooLarge, "a reason cannot be longer than %d bytes", reasonMost)
	}
	if r.Event != "" {
		sender, err := p.sender(ctx, r)
		if sender == "" || err != nil {
			return err
		}
		r.User = sender
	}
	id, err := p.db.Nids(ctx, "reports", 1)
	if err != nil {
		return fmt.Errorf("name a report: %w", err)
	}
	r.ID, r.At = id, p.now().UnixMilli()
	return p.db.Update(ctx, func(tx *store.Tx) error { return insertReport(tx, r) })
}

// sender finds who sent a reported event; empty: there is none that the reporter may see.
func (p *Policy) sender(ctx context.Context, r Report) (matrix.UserID, error) {
	e, err := p.rooms.Event(ctx, roomserver.Viewer{User: r.Reporter}, r.Room, r.Event)
	var hidden *matrix.Error
	if errors.As(err, &hidden) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find the reported event: %w", err)
	}
	return e.Sender(), nil
}
