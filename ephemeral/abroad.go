package ephemeral

import (
	"context"
	"fmt"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

// Abroad is told what other servers are to know of users of this one, each thing on one node.
type Abroad struct {
	// Typing is told who types in a room, or has stopped.
	Typing func(ctx context.Context, user matrix.UserID, room matrix.RoomID, types bool)
	// Read is told, in the transaction that stores it, of a receipt that is not private.
	Read func(tx *store.Tx, r Receipt) error
	// Presence is told how a user is.
	Presence func(ctx context.Context, user matrix.UserID, p Presence)
}

// Tell has other servers told. It is called before anything runs.
func (e *Ephemeral) Tell(a Abroad) { e.abroad = a }

func (e *Ephemeral) ours(user matrix.UserID) bool { return user.Server() == e.rooms.Server() }

func (e *Ephemeral) tellTyping(ctx context.Context, user matrix.UserID, room matrix.RoomID, types bool) {
	if e.abroad.Typing != nil && e.ours(user) {
		e.abroad.Typing(ctx, user, room, types)
	}
}

func (e *Ephemeral) tellRead(tx *store.Tx, r Receipt) error {
	if e.abroad.Read == nil || r.Private || !e.ours(r.User) {
		return nil
	}
	if err := e.abroad.Read(tx, r); err != nil {
		return fmt.Errorf("tell other servers of a receipt: %w", err)
	}
	return nil
}

// tellPresence tells the other nodes, and other servers.
func (e *Ephemeral) tellPresence(ctx context.Context, told []bus.Change) {
	if len(told) == 0 {
		return
	}
	e.bus.Publish(ctx, told...)
	for _, c := range told {
		user := matrix.UserID(c.Key)
		if e.abroad.Presence == nil || !e.ours(user) {
			continue
		}
		if p, known := e.PresenceNow(user); known {
			e.abroad.Presence(ctx, user, p)
		}
	}
}

// abroadFor is how long a user of another server is as their server said last. It says so again before that.
const abroadFor = 30 * time.Minute

// NotePresence notes how a user of another server is, as that says.
func (e *Ephemeral) NotePresence(ctx context.Context, user matrix.UserID, state State, status string, ago time.Duration) error {
	if state != Online && state != Unavailable && state != Offline {
		return matrix.InvalidParam("%q is no state of presence", string(state))
	}
	if len(status) > maxStatus {
		return matrix.InvalidParam("a status message cannot be longer than %d bytes", maxStatus)
	}
	e.tellPresence(ctx, e.people.told(user, state, status, ago))
	return nil
}

// told notes what another server says of its user.
func (p *people) told(user matrix.UserID, state State, status string, ago time.Duration) []bus.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	if state == Offline && p.who[user] == nil {
		return nil
	}
	it, now := p.find(user), p.now()
	it.signs, it.active = nil, now.Add(-ago)
	it.abroad, it.abroadUntil = state, now.Add(abroadFor)
	return p.become(user, it, presenceNote{State: state, Status: status, Ago: ago.Milliseconds(), Set: true})
}
