package appservice

import (
	"fmt"
	"time"

	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	vicinityMost = 50_000      // rooms that are remembered
	vicinityFor  = time.Minute // and for how long: an alias may be made or taken away meanwhile
)

// vicinity remembers which rooms concern a service, so that not everybody who types or is there costs a look at the
// members of a room. The follower of the stream has it forget a room that a user of the service enters or leaves.
type vicinity struct {
	service *Service
	rooms   *roomserver.Rooms
	most    int64 // members of a room whose presence is told; 0: none is
	now     func() time.Time
	known   *lru.Cache[roomserver.RoomNID, nearness]
}

// nearness is whether a room concerns a service, and whether the presence of those in it does.
type nearness struct {
	room, people bool
	until        time.Time
}

func newVicinity(s *Services, service *Service) *vicinity {
	return &vicinity{
		service: service, rooms: s.rooms, most: int64(s.presenceRoom), now: time.Now,
		known: lru.New[roomserver.RoomNID, nearness](vicinityMost),
	}
}

// moves says whether an event is of a user of the service who enters or leaves a room.
func (s *Service) moves(e *roomserver.ClientEvent) bool {
	key, is := e.StateKey()
	return is && e.Type() == "m.room.member" && s.ActsFor(matrix.UserID(key))
}

func (v *vicinity) forget(room roomserver.RoomNID) { v.known.Delete(room) }

// room says whether what passes in a room concerns the service.
func (v *vicinity) room(tx *store.Tx, id matrix.RoomID) (bool, error) {
	nid, found, err := v.rooms.NID(tx, id)
	if err != nil || !found {
		return false, err
	}
	near, err := v.of(tx, nid)
	return near.room, err
}

// user says whether the presence of a user concerns the service: the user is its own, or in a room with one of them.
func (v *vicinity) user(tx *store.Tx, user matrix.UserID) (bool, error) {
	if v.most == 0 {
		return false, nil
	}
	return v.meets(tx, user, func(n nearness) bool { return n.people })
}

// shares says whether a user is one of the service's own, or shares a room with them.
func (v *vicinity) shares(tx *store.Tx, user matrix.UserID) (bool, error) {
	return v.meets(tx, user, func(n nearness) bool { return n.room })
}

// meets says whether a user is one of the service's own, or is in a room of a kind.
func (v *vicinity) meets(tx *store.Tx, user matrix.UserID, kind func(nearness) bool) (bool, error) {
	if v.service.ActsFor(user) {
		return true, nil
	}
	in, err := v.rooms.RoomsOf(tx, user)
	if err != nil {
		return false, fmt.Errorf("read the rooms of %s: %w", user, err)
	}
	for _, nid := range in {
		if near, err := v.of(tx, nid); err != nil || kind(near) {
			return err == nil, err
		}
	}
	return false, nil
}

func (v *vicinity) of(tx *store.Tx, nid roomserver.RoomNID) (nearness, error) {
	if near, known := v.known.Get(nid); known && v.now().Before(near.until) {
		return near, nil
	}
	heads, err := v.rooms.Heads(tx, []roomserver.RoomNID{nid})
	if err != nil {
		return nearness{}, fmt.Errorf("read a room: %w", err)
	}
	head := heads[nid]
	near := nearness{until: v.now().Add(vicinityFor)}
	if near.room, err = newInterest(tx, v.rooms, v.service).now(head.ID, nid); err != nil {
		return nearness{}, err
	}
	near.people = near.room && head.Joined <= v.most
	v.known.Put(nid, near, 1)
	return near, nil
}
