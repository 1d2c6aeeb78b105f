// Package delayed sends events later: its users leave an event with a delay, and the server sends it when the
// time has come. A client in a call leaves the event that ends its part in the call, and puts it off again and
// again; when the client is gone the event is sent.
//
// Invariants:
//   - an event that was acknowledged is in the database, and is sent after a crash as well, in the order of
//     the times;
//   - it is sent once: its row is read and changed in the transaction that sends it. What was cancelled is
//     not sent;
//   - whether its user may send it is asked when it is sent, not when it is left;
//   - what waits of a user is bounded, and so is what is kept of what is over.
//
// Extension: MSC4140.
package delayed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/config"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what delayed events need.
type Options struct {
	DB       *store.DB
	Bus      bus.Bus
	Accounts *account.Accounts
	Rooms    *roomserver.Rooms
	Limiter  *httpapi.Limiter // of sending messages; nil: no limit
	Limits   config.DelayedEvents
	Log      *slog.Logger
	Now      func() time.Time
}

// Delayed keeps events that are to be sent later.
type Delayed struct {
	db       *store.DB
	bus      bus.Bus
	accounts *account.Accounts
	rooms    *roomserver.Rooms
	limiter  *httpapi.Limiter
	limits   config.DelayedEvents
	log      *slog.Logger
	now      func() time.Time
}

// New makes it. Events are sent while Run runs, on this node or another.
func New(o Options) *Delayed {
	return &Delayed{
		db: o.DB, bus: o.Bus, accounts: o.Accounts, rooms: o.Rooms, limiter: o.Limiter, limits: o.Limits, log: o.Log, now: o.Now,
	}
}

// Limits are what users may leave to be sent later.
func (d *Delayed) Limits() config.DelayedEvents { return d.limits }

// Event is an event that is to be sent, or was, and what became of it.
type Event struct {
	ID        string // opaque; who knows it may send, cancel and restart the event by the unstable endpoints
	User      matrix.UserID
	Device    matrix.DeviceID
	Scope     string // the endpoint and its path, but for the transaction id
	Txn       string // empty: none
	Room      matrix.RoomID
	Type      string
	StateKey  *string // nil: not a state event
	Content   json.RawMessage
	Timestamp int64 // milliseconds: what an application service gives the event; 0: when it is sent
	Sticky    int64 // milliseconds for which it is sticky once it is sent
	Unlimited bool  // its user is not rate limited
	Delay     time.Duration
	Since     int64 // milliseconds: when it was left, or restarted last

	Ended  int64 // milliseconds; 0: it waits
	Sent   matrix.EventID
	Failed json.RawMessage // an error body: why it was refused; nil: it was not
}

const (
	// contentMost bounds the content of an event, in bytes: none that is larger can be sent.
	contentMost = 65536
	// endedMost bounds the events of a user that are kept once they are over.
	endedMost = 200
	// endedFor is how long these are kept.
	endedFor = 7 * 24 * time.Hour
)

// Schedule keeps an event to be sent when its delay is over, and gives its id. A repeated transaction id
// keeps nothing, and is answered as the first time.
func (d *Delayed) Schedule(ctx context.Context, e Event) (id string, err error) {
	if err := d.possible(e); err != nil {
		return "", err
	}
	e.ID = newID(e.User)
	err = d.db.Update(ctx, func(tx *store.Tx) error {
		var known bool
		if id, known, err = byTxn(tx, e); known || err != nil {
			return err
		}
		if e.Content == nil {
			return matrix.E(matrix.CodeNotJSON, "the body is missing")
		}
		e.Since = d.millis()
		if err := d.fits(tx, e); err != nil {
			return err
		}
		inserted, err := insert(tx, e)
		if err != nil {
			return err
		}
		if !inserted {
			id, _, err = byTxn(tx, e)
			return err
		}
		id = e.ID
		tx.Announce(bus.Change{Kind: changed, Pos: e.due()})
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("leave an event of %s for later: %w", e.User, err)
	}
	return id, nil
}

// possible refuses what cannot be, whatever else there is.
func (d *Delayed) possible(e Event) error {
	switch {
	case d.limits.MaxScheduled == 0:
		return matrix.Forbidden("this server sends no delayed events")
	case e.Delay <= 0:
		return matrix.InvalidParam("the delay must be a positive number of milliseconds")
	case e.Delay > time.Duration(d.limits.MaxDelay):
		return matrix.Forbidden("the delay cannot be longer than %d ms", time.Duration(d.limits.MaxDelay).Milliseconds())
	case len(e.Content) > contentMost:
		return matrix.E(matrix.CodeTooLarge, "an event cannot be larger than %d bytes", contentMost)
	case e.Type == "":
		return matrix.InvalidParam("an event needs a type")
	case d.invitesElsewhere(e):
		return matrix.InvalidParam("an invite of a user of another server cannot be delayed: their server has to agree")
	}
	return nil
}

func (d *Delayed) invitesElsewhere(e Event) bool {
	if e.Type != "m.room.member" || e.StateKey == nil || matrix.UserID(*e.StateKey).Server() == d.rooms.Server() {
		return false
	}
	var content struct {
		Membership matrix.Membership `json:"membership"`
	}
	return json.Unmarshal(e.Content, &content) == nil && content.Membership == matrix.Invite
}

// fits refuses what would be one event too many, and makes room among those that are over.
func (d *Delayed) fits(tx *store.Tx, e Event) error {
	n, first, err := waiting(tx, e.User)
	if err != nil {
		return err
	}
	if n >= int64(d.limits.MaxScheduled) {
		wait := max(first-d.millis(), 0)
		return matrix.E(matrix.CodeLimitExceeded, "no more than %d delayed events can wait", d.limits.MaxScheduled).With("retry_after_ms", wait)
	}
	return forgetOldest(tx, e.User, endedMost)
}

// newID makes an id that nobody guesses: who knows it may manage the event. It begins with the shard.
func newID(user matrix.UserID) string { return fmt.Sprintf("%02x%s", user.Shard(), rand.Text()) }

// shardOf reads the shard out of an id; false: there is no such event.
func shardOf(id string) (int64, bool) {
	if len(id) < 2 {
		return 0, false
	}
	shard, err := strconv.ParseUint(id[:2], 16, 8)
	return int64(shard), err == nil
}

// due is when an event is to be sent.
func (e *Event) due() int64 { return e.Since + e.Delay.Milliseconds() }

func (d *Delayed) millis() int64 { return d.now().UnixMilli() }

// Waiting lists the events of a user that wait, in the order of their times.
func (d *Delayed) Waiting(ctx context.Context, user matrix.UserID) (events []Event, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) (err error) {
		events, err = waitingOf(tx, user, maxListed)
		return err
	})
	return events, err
}

// maxListed bounds a list of events, should the limit have been lowered.
const maxListed = 10_000

// Event gives an event of a user.
func (d *Delayed) Event(ctx context.Context, user matrix.UserID, id string) (e Event, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) (err error) {
		e, err = find(tx, id, user, false)
		return err
	})
	return e, err
}

// find reads an event; a user, where one is named, finds their own only.
func find(tx *store.Tx, id string, user matrix.UserID, lock bool) (Event, error) {
	shard, ok := shardOf(id)
	if !ok {
		return Event{}, errUnknown
	}
	e, found, err := byID(tx, shard, id, lock)
	switch {
	case err != nil:
		return e, fmt.Errorf("find a delayed event: %w", err)
	case !found || user != "" && e.User != user:
		return e, errUnknown
	}
	return e, nil
}

var errUnknown = matrix.NotFound("there is no such delayed event")

// Deactivated forgets what a user whose account ends left to be sent.
func (d *Delayed) Deactivated(tx *store.Tx, user matrix.UserID, _ bool) error {
	return deleteOf(tx, user)
}
