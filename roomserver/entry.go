package roomserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// An entry is the entering of a room in which no user of ours is. What the room has is written in parts before
// the join that makes it visible: events, as outliers, and rows of members and servers, which nobody reads of a
// room that this server is not in. Under its lease one entry of a room is made at a time, over all nodes.
type entry struct {
	r       *Rooms
	room    RoomNID
	lease   store.Lease
	renewed time.Time
	since   int64 // the position of the stream when it began: since when the members are known

	places  map[int64]int64             // the state: events by tuple
	locals  map[int64]bool              // tuples of users of ours
	servers map[matrix.ServerName]int64 // joined members of other servers
	invited int64                       // of other servers
	told    *state.State                // when it is whole
	fresh   bool                        // it is not stored yet
}

const (
	// entryLease is how long it takes until another node may enter a room after the one that died meanwhile.
	entryLease = 10 * time.Second
	entryLook  = 100 * time.Millisecond
	// entryMost bounds the rows of members or servers that one wish writes or removes.
	entryMost = 500
)

// errOvertaken says that another node enters the room by now.
var errOvertaken = errors.New("another node enters the room")

func newEntry(r *Rooms, room RoomNID) *entry {
	return &entry{
		r: r, room: room, places: make(map[int64]int64), locals: make(map[int64]bool), servers: make(map[matrix.ServerName]int64),
	}
}

// take waits until no other node enters the room.
func (e *entry) take(ctx context.Context, id matrix.RoomID) error {
	for {
		inside, err := e.r.Resident(ctx, id)
		if err != nil {
			return err
		}
		if inside {
			return ErrInside
		}
		held := false
		e.renewed = time.Now()
		e.lease, held, err = e.r.db.Acquire(ctx, "enter room "+e.room.String(), e.r.process, entryLease)
		if err != nil {
			return err
		}
		if held {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another node that enters the room: %w", ctx.Err())
		case <-time.After(entryLook):
		}
	}
	return e.r.db.View(ctx, func(tx *store.Tx) (err error) {
		e.since, err = tx.Pos()
		return err
	})
}

func (e *entry) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), entryLease)
	defer cancel()
	if err := e.r.db.Release(ctx, e.lease); err != nil {
		e.r.log.Warn("the lease of an entered room ends by itself", "room", int64(e.room), "err", err)
	}
}

// commit has a part of the entry written, while it is the only one and nobody of ours is in the room.
func (e *entry) commit(ctx context.Context, fulfil func(b *batch) error) error {
	if time.Since(e.renewed) > entryLease/3 {
		began := time.Now()
		if held, err := e.r.db.Renew(ctx, e.lease, entryLease); err != nil {
			return err
		} else if !held {
			return errOvertaken
		}
		e.renewed = began
	}
	return e.r.commit(ctx, []RoomNID{e.room}, func(b *batch) error {
		if err := e.alone(b); err != nil {
			return err
		}
		return fulfil(b)
	})
}

func (e *entry) alone(b *batch) error {
	held, err := b.tx.Holds(e.lease)
	if err == nil && !held {
		err = errOvertaken
	}
	if err != nil {
		return err
	}
	inside, err := serverIn(b.tx, e.room, e.r.server)
	if err == nil && inside {
		err = ErrInside
	}
	return err
}

// clear removes the rows that are there of members of other servers: of an entry that did not end, or of the time
// when we were in the room. Its users of ours stay.
func (e *entry) clear(ctx context.Context) error {
	for left := true; left; {
		err := e.commit(ctx, func(b *batch) error {
			users, servers, err := membersElsewhere(b.tx, e.room, e.r.server, entryMost)
			left = len(users)+len(servers) > 0
			if left {
				b.later = append(b.later, func() error { return deleteMembers(b.tx, e.room, users, servers) })
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var ours []matrix.UserID
	err := e.r.db.View(ctx, func(tx *store.Tx) (err error) {
		if ours, err = usersOf(tx, e.room, e.r.server); err != nil {
			return err
		}
		for _, u := range ours {
			tuple, ok, err := e.r.states.Tuple(tx, rules.StateKey{Type: "m.room.member", Key: string(u)})
			if err != nil {
				return err
			}
			if ok {
				e.locals[tuple] = true
			}
		}
		return nil
	})
	return err
}

// keep writes a part of the room.
func (e *entry) keep(ctx context.Context, part []Piece) error {
	events := make([]*rules.Event, len(part))
	for i, p := range part {
		events[i] = p.Event
	}
	var k *keptPart
	err := e.commit(ctx, func(b *batch) error {
		in, err := b.keepOutliers(e.room, events)
		if err != nil {
			return err
		}
		k = e.sort(in, part)
		b.later = append(b.later, func() error { return insertMembers(b.tx, e.room, k.members) })
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep %d events: %w", len(part), err)
	}
	e.add(k)
	return nil
}

// keptPart is what a part of the room adds to its state.
type keptPart struct {
	places  map[int64]int64
	locals  []int64
	members []memberRow
}

// memberRow is a member of another server.
type memberRow struct {
	user       matrix.UserID
	membership matrix.Membership
	event, pos int64
}

// sort finds the places that events have in the state. Rejected ones have none, and of two for one place the first.
func (e *entry) sort(in *names, part []Piece) *keptPart {
	k := &keptPart{places: make(map[int64]int64, len(part))}
	for _, p := range part {
		n, here := in.here(p.ID())
		if !p.State || !here || n.status == statusRejected || n.tuple == 0 {
			continue
		}
		if e.places[n.tuple]+k.places[n.tuple] != 0 {
			continue
		}
		k.places[n.tuple] = n.nid
		key, _ := p.StateKey()
		user := matrix.UserID(key)
		switch {
		case p.Type() != "m.room.member" || !storable(key): // no user can have such an id
		case e.r.ours(user):
			k.locals = append(k.locals, n.tuple)
		default:
			row := memberRow{user, p.Membership(), n.nid, e.since}
			if row.membership == matrix.Leave {
				row.pos = 0
			}
			k.members = append(k.members, row)
		}
	}
	return k
}

func (e *entry) add(k *keptPart) {
	maps.Copy(e.places, k.places)
	for _, tuple := range k.locals {
		e.locals[tuple] = true
	}
	for _, m := range k.members {
		switch m.membership {
		case matrix.Join:
			e.servers[m.user.Server()]++
		case matrix.Invite:
			e.invited++
		}
	}
}

// enter makes the room visible, with the join.
func (e *entry) enter(ctx context.Context, j Import) error {
	if err := e.keepServers(ctx); err != nil {
		return fmt.Errorf("import room %s: keep its servers: %w", j.Room, err)
	}
	if err := e.settle(ctx, j); err != nil {
		return fmt.Errorf("import room %s: %w", j.Room, err)
	}
	c := &reception{r: e.r, ev: j.Join, gap: true, entering: e}
	status, err := e.r.receive(ctx, c)
	var gap *Gap
	if errors.As(err, &gap) {
		return matrix.Forbidden("the answer to the join of %s lacks auth events", j.Room)
	}
	if err == nil && status != Accepted {
		err = matrix.Forbidden("the rules of the room %s do not allow the join, %s", j.Room, c.why)
	}
	return err
}

// keepServers writes how many members the other servers have.
func (e *entry) keepServers(ctx context.Context) error {
	for names := range slices.Chunk(slices.Sorted(maps.Keys(e.servers)), entryMost) {
		err := e.commit(ctx, func(b *batch) error {
			b.later = append(b.later, func() error {
				changes := make(map[serverKey]*serverChange, len(names))
				for _, s := range names {
					changes[serverKey{e.room, s}] = &serverChange{joined: e.servers[s]}
				}
				return writeServers(b.tx, changes)
			})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settle makes the state of all that was kept. It must have the create event of the room.
func (e *entry) settle(ctx context.Context, j Import) error {
	entries := entriesOf(e.places)
	var base *state.State
	err := e.r.db.View(ctx, func(tx *store.Tx) error {
		tuple, _, err := e.r.states.Tuple(tx, rules.StateKey{Type: "m.room.create"})
		if err != nil {
			return err
		}
		found, err := e.r.held(tx, []int64{e.places[tuple]})
		if err != nil {
			return err
		}
		create := found[e.places[tuple]]
		if create == nil || rules.VersionIn(create.Content()) != j.Version.ID {
			return matrix.BadJSON("the state has no create event of room version %s", j.Version.ID)
		}
		h, _, err := e.r.headByID(tx, j.Room)
		if err != nil {
			return err
		}
		base, err = e.r.states.Load(tx, h.Snap)
		return err
	})
	if err == nil {
		e.told, err = e.r.states.Next(ctx, int64(e.room), base, state.Changes(base.Entries(), entries))
		e.fresh = e.told != base
	}
	return err
}

// noteMoves notes what the entry does to the memberships of users of ours; those of others stand in their rows.
func (e *entry) noteMoves(b *batch, h *head, s *staged, next *state.State) error {
	h.joined, h.invited = 0, e.invited
	for _, n := range e.servers {
		h.joined += n
	}
	tuples := maps.Clone(e.locals)
	tuples[s.Tuple] = true
	for _, tuple := range slices.Sorted(maps.Keys(tuples)) {
		old, _ := h.state.Event(tuple)
		young, _ := next.Event(tuple)
		if old != 0 {
			was, err := b.event(old)
			if err != nil {
				return err
			}
			h.joined += count(was.Membership() == matrix.Join)
			h.invited += count(was.Membership() == matrix.Invite)
		}
		if old == young {
			continue
		}
		if err := b.noteMove(h, s, old, young); err != nil {
			return err
		}
	}
	b.later = append(b.later, func() error { return beginStays(b.tx, e.room, e.r.server, s.pos) })
	return nil
}
