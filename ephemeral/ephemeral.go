// Package ephemeral keeps what passes: who is typing, who has read how far, who is there.
//
// Invariants:
//   - typing and presence are in memory only, and end by themselves; receipts are stored;
//   - a receipt moves forward only, by the order of the room's timeline; private ones are told to nobody
//     but their user;
//   - changes of typing reach every node over the bus, this one included, and are applied before a reader
//     who was woken by them reads;
//   - whatever is kept in memory is bounded, and losing it costs a query, or an indicator that is late.
//
// Spec: CS "Typing Notifications", "Receipts", "Fully read markers", "Presence".
package ephemeral

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what the ephemeral things need.
type Options struct {
	DB    *store.DB
	Bus   bus.Bus
	Rooms *roomserver.Rooms
	Log   *slog.Logger
	Now   func() time.Time
}

// Ephemeral keeps what passes.
type Ephemeral struct {
	db     *store.DB
	bus    bus.Bus
	rooms  *roomserver.Rooms
	log    *slog.Logger
	now    func() time.Time
	typing *typing
	heads  *heads
	people *people
	onRead func(tx *store.Tx, user matrix.UserID) error // nil: nobody asks
	abroad Abroad
}

// New makes it. From here on it collects what the bus tells of typing and presence; it has to be made before those who
// wait for the same, so that it hears first.
func New(o Options) *Ephemeral {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rooms != nil {
		o.Rooms.OnPurge(roomserver.PurgeHooks{Emptied: []func(*store.Tx, roomserver.RoomNID, int) (int, error){emptied}})
	}
	node := rand.Int64N(1<<60) + 1
	return &Ephemeral{
		db: o.DB, bus: o.Bus, rooms: o.Rooms, log: o.Log, now: o.Now,
		typing: newTyping(o.Bus.Subscribe(bus.Typing), o.Now, node),
		heads:  newHeads(),
		people: newPeople(o.Bus.Subscribe(bus.Presence), o.Now, node),
	}
}

// Run ends the typing and the presence of those whose time is over, until ctx ends.
func (e *Ephemeral) Run(ctx context.Context) error {
	defer e.typing.sub.Close()
	defer e.people.sub.Close()
	tick, slow := time.NewTicker(typingTick), time.NewTicker(presenceTick)
	defer tick.Stop()
	defer slow.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			e.expireTyping(ctx)
		case <-slow.C:
			e.tellPresence(ctx, e.people.keepTime())
		}
	}
}

// member finds a room of which a local user is a member, or refuses.
func (e *Ephemeral) member(tx *store.Tx, user matrix.UserID, room matrix.RoomID) (roomserver.RoomNID, error) {
	nid, known, err := e.rooms.NID(tx, room)
	if err != nil {
		return 0, err
	}
	if known {
		ur, found, err := e.rooms.UserRoom(tx, user, nid)
		if err != nil {
			return 0, err
		}
		if found && ur.Membership == matrix.Join {
			return nid, nil
		}
	}
	return 0, matrix.Forbidden("you are not in the room %s", room)
}
