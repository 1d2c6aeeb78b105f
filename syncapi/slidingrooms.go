package syncapi

import (
	"cmp"
	"fmt"
	"slices"

	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
)

const (
	// listingsMemory bounds what is kept of the lists of users' rooms, in bytes.
	listingsMemory = 64 << 20
	// listedCost is about what a room of such a list costs.
	listedCost = 200
)

// listed is a room that a user has to do with, as lists see it.
type listed struct {
	room       roomserver.RoomNID
	id         matrix.RoomID
	membership matrix.Membership
	sender     matrix.UserID // of the member event
	began      int64         // position where the membership began
	active     int64         // position by which rooms are sorted: of the newest event, or where the membership began
	bump       int64         // what clients sort by
	kind       string
	encrypted  bool
}

// inside says whether the user is in the room.
func (l *listed) inside() bool { return l.membership == matrix.Join }

// past says whether the user was in the room, or might have been.
func (l *listed) past() bool { return l.membership == matrix.Leave || l.membership == matrix.Ban }

// listing is all rooms of a user at a position, those first in which something happened last. It is not
// changed once it is kept.
type listing struct {
	at     int64
	rooms  []listed
	joined []joinedRoom // by nid
}

func newListings() *lru.Cache[matrix.UserID, *listing] {
	return lru.New[matrix.UserID, *listing](listingsMemory)
}

func (l *listing) byID(room matrix.RoomID) *listed {
	for i := range l.rooms {
		if l.rooms[i].id == room {
			return &l.rooms[i]
		}
	}
	return nil
}

// findListing finds the user's rooms in their order. What is kept in memory is brought up to date: only
// memberships that began since, and rooms in which something happened since, are read.
func (r *slide) findListing() error {
	if err := r.a.waker.fill(r.tx, r.upto); err != nil {
		return fmt.Errorf("find what changed: %w", err)
	}
	kept, ok := r.a.listings.Get(r.viewer.User)
	var err error
	switch {
	case !ok || kept.at > r.upto:
		err = r.readListing()
	default:
		err = r.freshenListing(kept)
	}
	if err != nil {
		return err
	}
	r.joined = r.listing.joined
	if _, at := r.a.waker.joinedOf(r.viewer.User); at == 0 || r.a.waker.users.changed(r.viewer.User, at) {
		r.keepJoined()
	}
	for _, l := range r.listing.rooms {
		if !r.initial && l.began > r.since.Pos {
			r.changed = append(r.changed, roomserver.UserRoom{Room: l.room, ID: l.id, Membership: l.membership, Pos: l.began})
		}
	}
	return nil
}

// readListing reads all rooms of the user.
func (r *slide) readListing() error {
	rooms, err := readListed(r.tx, r.viewer.User)
	if err != nil {
		return fmt.Errorf("list the rooms of %s: %w", r.viewer.User, err)
	}
	return r.makeListing(rooms, func(*listed) bool { return true })
}

// freshenListing brings a kept list up to date.
func (r *slide) freshenListing(kept *listing) error {
	began := make(map[roomserver.RoomNID]bool) // and where something happened
	rooms := kept.rooms
	if r.a.waker.users.changed(r.viewer.User, kept.at) {
		rows, err := newMemberships(r.tx, r.viewer.User, kept.at)
		if err != nil {
			return fmt.Errorf("read new memberships: %w", err)
		}
		for _, u := range rows {
			began[u.Room] = true
		}
		rooms = slices.DeleteFunc(slices.Clone(rooms), func(l listed) bool { return began[l.room] })
		for _, u := range rows {
			if !u.Forgotten {
				rooms = append(rooms, listedOf(u))
			}
		}
	}
	moved, known := since(r.a.waker.rooms, rooms, func(l listed) roomserver.RoomNID { return l.room }, kept.at)
	if known && len(moved) == 0 && len(began) == 0 {
		r.listing = kept
		return nil
	}
	for _, l := range moved {
		began[l.room] = true
	}
	return r.makeListing(rooms, func(l *listed) bool { return !known || began[l.room] })
}

// makeListing fills in what is not known of rooms, sorts them and keeps the list.
func (r *slide) makeListing(rooms []listed, stale func(*listed) bool) error {
	rooms = slices.Clone(rooms)
	var nids []roomserver.RoomNID
	for i := range rooms {
		if stale(&rooms[i]) {
			nids = append(nids, rooms[i].room)
		}
	}
	facts, err := r.a.rooms.Listings(r.tx, nids)
	if err != nil {
		return fmt.Errorf("read what rooms are listed by: %w", err)
	}
	made := &listing{at: r.upto}
	for i := range rooms {
		l := &rooms[i]
		if !stale(l) {
			continue
		}
		if err := r.fillListed(l, facts[l.room]); err != nil {
			return err
		}
	}
	slices.SortFunc(rooms, func(a, b listed) int { return cmp.Or(cmp.Compare(b.active, a.active), cmp.Compare(a.room, b.room)) })
	for _, l := range rooms {
		if l.inside() {
			made.joined = append(made.joined, joinedRoom{l.room, l.id, l.began})
		}
	}
	slices.SortFunc(made.joined, compareRooms)
	made.rooms = rooms
	r.listing = made
	if kept, ok := r.a.listings.Get(r.viewer.User); ok && kept.at > made.at {
		return nil // another reader knows of a later moment
	}
	r.a.listings.Put(r.viewer.User, made, int64(listedCost*len(rooms)+200))
	return nil
}

// fillListed tells what a room is listed by. Who is not in it is told nothing of what it is now.
func (r *slide) fillListed(l *listed, facts roomserver.Listing) error {
	l.active, l.bump, l.kind, l.encrypted = l.began, l.began, facts.Kind, false
	switch {
	case l.inside():
		l.active, l.bump, l.encrypted = facts.Pos, facts.Bump, facts.Encrypted
	case l.past():
		p, err := r.pastOf(l)
		l.encrypted = p != nil && p.encrypted
		return err
	default:
		return r.fillInvited(l)
	}
	return nil
}

// fillInvited tells what an invite or a knock is listed by, from what came with it.
func (r *slide) fillInvited(l *listed) error {
	u, _, err := r.a.rooms.UserRoom(r.tx, r.viewer.User, l.room)
	if err != nil {
		return fmt.Errorf("read the invite to %s: %w", l.id, err)
	}
	l.kind = ""
	for w := canonicaljson.WalkArray(u.Stripped); w.Next(); {
		tp, _ := canonicaljson.Field(w.Value(), "type")
		switch name, _ := canonicaljson.Text(tp); name {
		case "m.room.create":
			kind, _ := canonicaljson.Field(w.Value(), "content", "type")
			l.kind, _ = canonicaljson.Text(kind)
		case "m.room.encryption":
			l.encrypted = true
		}
	}
	return nil
}

func listedOf(u roomserver.UserRoom) listed {
	return listed{room: u.Room, id: u.ID, membership: u.Membership, sender: u.Sender, began: u.Pos}
}

// pastRoom is a room that the user was in, as it was when they were in it last.
type pastRoom struct {
	roomserver.Item
	whole     bool // the membership ended there, so nothing happened since that they are told
	encrypted bool
}

// pastOf finds where somebody was last in a room; nil: they never were. Only for rooms that they were made to
// leave, or that the connection knows, is it looked for.
func (r *slide) pastOf(l *listed) (*pastRoom, error) {
	if _, known := r.conn.rooms[l.room]; !known && l.membership == matrix.Leave && l.sender == r.viewer.User {
		return nil, nil
	}
	key := pastKey{r.viewer.User, l.room, l.began}
	if p, ok := r.a.pasts.Get(key); ok {
		return p, nil
	}
	p, err := r.readPast(l)
	if err != nil {
		return nil, fmt.Errorf("find where %s left %s: %w", r.viewer.User, l.id, err)
	}
	r.a.pasts.Put(key, p, 1)
	return p, nil
}

// pastKey names the end of a membership, which does not change any more.
type pastKey struct {
	user  matrix.UserID
	room  roomserver.RoomNID
	began int64
}

// pastsMost bounds the ended memberships of which is kept where they ended.
const pastsMost = 50_000

func newPasts() *lru.Cache[pastKey, *pastRoom] { return lru.New[pastKey, *pastRoom](pastsMost) }

func (r *slide) readPast(l *listed) (*pastRoom, error) {
	u, ok, err := r.a.rooms.UserRoom(r.tx, r.viewer.User, l.room)
	if err != nil || !ok || u.Seq == 0 {
		return nil, err
	}
	it, was, err := r.a.rooms.Departure(r.tx, u)
	if err != nil || !was {
		return nil, err
	}
	st, err := r.a.rooms.State(r.tx, it.Snap)
	if err != nil {
		return nil, err
	}
	e, err := r.a.rooms.StateEvent(r.tx, st, "m.room.encryption", "")
	return &pastRoom{Item: it, whole: it.NID == u.Event, encrypted: e != nil}, err
}
