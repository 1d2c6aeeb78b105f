package push

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// follow looks at each event after its commit: whom of those with pushers it is to be sent to, and whose
// rules a new room takes over from the one that it replaces. Run does it on one node at a time.
func (p *Push) follow(ctx context.Context, wakes bus.Bus) error {
	return p.rooms.Follow(ctx, wakes, roomserver.Follower{Name: "push", FromNow: true, Take: p.take})
}

// queued is a notification that is to be sent to a pusher.
type queued struct {
	pusher  pusherKey
	at      roomserver.Passed
	actions []json.RawMessage
	told    []byte // of an event that is not kept here
}

// heir is a user who has come into a room that replaces another.
type heir struct {
	user     matrix.UserID
	from, to matrix.RoomID
	replaced bool // the old room says so too
}

// sifting is the work on some events.
type sifting struct {
	p      *Push
	tx     *store.Tx
	heads  map[roomserver.RoomNID]roomserver.Head
	events map[int64]*roomserver.Event
	users  map[matrix.UserID]*counting
	facts  map[sumKey]*roomFacts
	near   map[roomserver.RoomNID]map[matrix.UserID][]pusherKey // members with pushers
	queue  []queued
	heirs  []heir
}

func (p *Push) take(ctx context.Context, events []roomserver.Passed) (func(tx *store.Tx) error, error) {
	var s *sifting
	err := p.db.View(ctx, func(tx *store.Tx) error {
		s = &sifting{
			p: p, tx: tx, users: make(map[matrix.UserID]*counting), facts: make(map[sumKey]*roomFacts),
			near: make(map[roomserver.RoomNID]map[matrix.UserID][]pusherKey),
		}
		return s.run(events)
	})
	if err != nil || len(s.queue)+len(s.heirs) == 0 {
		return nil, err
	}
	return s.write, nil
}

func (s *sifting) run(passed []roomserver.Passed) error {
	nids := make([]int64, len(passed))
	rooms := make([]roomserver.RoomNID, len(passed))
	for i, e := range passed {
		nids[i], rooms[i] = e.NID, e.Room
	}
	var err error
	if s.events, err = s.p.rooms.Events(s.tx, nids); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	if s.heads, err = s.p.rooms.Heads(s.tx, rooms); err != nil {
		return fmt.Errorf("read rooms: %w", err)
	}
	for _, at := range passed {
		e := s.events[at.NID]
		if e == nil || e.RedactedBy != 0 {
			continue
		}
		if err := s.sift(at, e); err != nil {
			return fmt.Errorf("look at %s: %w", e.ID(), err)
		}
	}
	return nil
}

// sift finds what an event means.
func (s *sifting) sift(at roomserver.Passed, e *roomserver.Event) error {
	near, err := s.nearTo(at.Room)
	if err != nil {
		return err
	}
	for user, pushers := range near {
		if err := s.weigh(at, e, user, pushers); err != nil {
			return err
		}
	}
	key, isState := e.StateKey()
	target := matrix.UserID(key)
	if !isState || e.Type() != "m.room.member" || target.Server() != s.p.rooms.Server() {
		return nil
	}
	switch e.Membership() {
	case matrix.Invite:
		pushers, err := pusherKeys(s.tx, target)
		if err != nil || len(pushers) == 0 || near[target] != nil {
			return err
		}
		invites, err := account.ReadInviteRules(s.tx, target)
		if err != nil || e.Sender() != s.p.rooms.Notices() && invites.Welcome(e.Sender()) != account.InviteShown {
			return err
		}
		return s.weigh(at, e, target, pushers)
	case matrix.Join:
		return s.inherit(at, target)
	}
	return nil
}

func (s *sifting) nearTo(room roomserver.RoomNID) (map[matrix.UserID][]pusherKey, error) {
	near, known := s.near[room]
	if known {
		return near, nil
	}
	near = make(map[matrix.UserID][]pusherKey)
	keys, err := pushersIn(s.tx, room)
	if err != nil {
		return nil, fmt.Errorf("find the pushers of a room: %w", err)
	}
	for _, k := range keys {
		near[k.user] = append(near[k.user], k)
	}
	s.near[room] = near
	return near, nil
}

// weigh asks the rules of a user about an event.
func (s *sifting) weigh(at roomserver.Passed, e *roomserver.Event, user matrix.UserID, pushers []pusherKey) error {
	if e.Sender() == user {
		return nil
	}
	c, err := s.userOf(user)
	if err != nil {
		return err
	}
	facts := s.facts[sumKey{user, at.Room}]
	if facts == nil {
		facts = c.facts(s.heads[at.Room])
		s.facts[sumKey{user, at.Room}] = facts
	}
	o := c.rules.Evaluate(About(e.Event), &facts.Facts)
	if facts.err != nil || !o.Notify {
		return facts.err
	}
	if ignored, err := c.isIgnored(e.Sender()); err != nil || ignored {
		return err
	}
	for _, k := range pushers {
		s.queue = append(s.queue, queued{pusher: k, at: at, actions: o.Actions})
	}
	return nil
}

func (s *sifting) userOf(user matrix.UserID) (*counting, error) {
	if c := s.users[user]; c != nil {
		return c, nil
	}
	c := &counting{p: s.p, tx: s.tx, user: user}
	var err error
	c.rules, c.pos, err = s.p.evaluator(s.tx, user)
	s.users[user] = c
	return c, err
}

// inherit notes a user whose membership began here in a room that replaces another.
func (s *sifting) inherit(at roomserver.Passed, user matrix.UserID) error {
	in, found, err := s.p.rooms.UserRoom(s.tx, user, at.Room)
	if err != nil || !found || in.Pos != at.Pos {
		return err
	}
	from, err := s.p.rooms.Predecessor(s.tx, at.Room)
	if err != nil || from == "" {
		return err
	}
	to, err := s.p.rooms.Successor(s.tx, from)
	s.heirs = append(s.heirs, heir{user, from, in.ID, to == in.ID})
	return err
}

// write stores what was found, with the cursor.
func (s *sifting) write(tx *store.Tx) error {
	for _, h := range s.heirs {
		if err := s.p.copyRoom(tx, h.user, h.from, h.to); err != nil {
			return fmt.Errorf("carry the rules of %s over to %s: %w", h.user, h.to, err)
		}
		if !h.replaced { // anybody can make a room that says whose place it takes
			continue
		}
		if err := account.Follow(tx, h.user, h.from, h.to); err != nil {
			return fmt.Errorf("%s goes on in %s: %w", h.user, h.to, err)
		}
	}
	if err := enqueue(tx, s.queue, s.p.now().UnixMilli()); err != nil {
		return fmt.Errorf("queue notifications: %w", err)
	}
	asked := make(map[pusherKey]bool)
	for _, q := range s.queue {
		if !asked[q.pusher] {
			asked[q.pusher] = true
			if err := q.pusher.ask(tx, 0); err != nil {
				return err
			}
		}
	}
	return nil
}
