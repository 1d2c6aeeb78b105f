package sender

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// stayKey is the stay of a server in a room.
type stayKey struct {
	server matrix.ServerName
	room   roomserver.RoomNID
	since  int64
}

// stretch is a part of a timeline, in which the last event is for the server, and so are all that this server is
// to bring.
type stretch struct{ from, upto int64 }

// marks are the stretches that some events make.
type marks map[stayKey]stretch

// mark finds the servers that events are for. It is what the follower does.
func (s *Sender) mark(ctx context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
	var found marks
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		found, err = s.addressed(tx, events)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the servers that events are for: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return func(tx *store.Tx) error { return s.enqueue(tx, found) }, nil
}

// enqueue writes what is to be sent. The rows of the destinations are locked first: who gives a destination back
// holds its row, and so sees what came before or is followed by what comes after.
func (s *Sender) enqueue(tx *store.Tx, found marks) error {
	servers := make(map[matrix.ServerName]bool)
	for k := range found {
		servers[k.server] = true
	}
	if err := s.Wake(tx, slices.Collect(maps.Keys(servers))); err != nil {
		return err
	}
	if err := writeStretches(tx, found, s.now().UnixMilli()); err != nil {
		return fmt.Errorf("queue events for other servers: %w", err)
	}
	return nil
}

// Wake notes that something waits for servers, in the transaction that makes it so and before it is written.
func (s *Sender) Wake(tx *store.Tx, servers []matrix.ServerName) error {
	if err := makeDue(tx, servers); err != nil {
		return fmt.Errorf("wake the sending to other servers: %w", err)
	}
	tx.Announce(bus.Change{Kind: bus.Destination})
	return nil
}

// addressed finds for which servers this server brings events.
func (s *Sender) addressed(tx *store.Tx, events []roomserver.Passed) (marks, error) {
	var rooms []roomserver.RoomNID
	ours := make(map[int64]*roomserver.Event, len(events))
	in := make(map[roomserver.RoomNID]bool)
	for _, e := range events {
		if e.Event != nil {
			ours[e.NID] = e.Event
		}
		if !in[e.Room] {
			in[e.Room] = true
			rooms = append(rooms, e.Room)
		}
	}
	stays, err := s.rooms.Servers(tx, rooms)
	if err != nil {
		return nil, err
	}
	if err := s.keepOurs(tx, ours); err != nil {
		return nil, err
	}
	found := make(marks)
	for _, at := range events {
		if err := s.greetSticky(tx, found, at, stays[at.Room]); err != nil {
			return nil, err
		}
		e := ours[at.NID]
		if e == nil {
			continue
		}
		for _, stay := range stays[at.Room] {
			if stay.Has(at.Pos) && stay.Server != e.Sender().Server() && s.admits(stay.Server) {
				found.add(stayKey{stay.Server, at.Room, stay.Since}, at.Seq)
			}
		}
		if about, concerned := s.concerns(e, stays[at.Room], at.Pos); concerned {
			found.add(stayKey{about, at.Room, at.Pos}, at.Seq)
		}
	}
	return found, nil
}

// keepOurs leaves of some events those that this server brings to others: its users' own, and those that it has
// accepted for a room by a handshake.
func (s *Sender) keepOurs(tx *store.Tx, events map[int64]*roomserver.Event) error {
	var foreign []int64
	for nid, e := range events {
		if e.Sender().Server() != s.rooms.Server() {
			foreign = append(foreign, nid)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	relayed, err := s.rooms.Relayed(tx, foreign)
	for _, nid := range foreign {
		if !relayed[nid] {
			delete(events, nid)
		}
	}
	return err
}

// concerns finds the server of a user whose invite or knock ends by an event, and which is not in the room.
func (s *Sender) concerns(e *roomserver.Event, stays []roomserver.ServerStay, pos int64) (matrix.ServerName, bool) {
	key, _ := e.StateKey()
	about := matrix.UserID(key).Server()
	if e.Type() != "m.room.member" || e.Membership() != matrix.Leave && e.Membership() != matrix.Ban || about == e.Sender().Server() {
		return "", false
	}
	for _, stay := range stays {
		if stay.Server == about && stay.Has(pos) {
			return "", false
		}
	}
	return about, s.admits(about)
}

// add puts an event at the end of a stretch. Events come in the order of their places.
func (m marks) add(k stayKey, seq int64) {
	if old, known := m[k]; known {
		m[k] = stretch{old.from, seq}
		return
	}
	m[k] = stretch{seq, seq}
}
