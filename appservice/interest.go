package appservice

import (
	"fmt"
	"math"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// interest decides which events concern a service, in one transaction.
//
// Spec: AS "Pushing events".
type interest struct {
	service *Service
	rooms   *roomserver.Rooms
	tx      *store.Tx
	known   map[roomserver.RoomNID]*about
}

// about is what has to be known of a room: whether its names are the service's, and when users were in it
// for whom the service acts.
type about struct {
	named bool
	stays []roomserver.LocalMember
}

func newInterest(tx *store.Tx, rooms *roomserver.Rooms, service *Service) *interest {
	return &interest{service: service, rooms: rooms, tx: tx, known: map[roomserver.RoomNID]*about{}}
}

func (i *interest) in(e *roomserver.ClientEvent, at roomserver.Passed) (bool, error) {
	if i.service.ActsFor(e.Sender()) {
		return true, nil
	}
	if key, is := e.StateKey(); is && e.Type() == "m.room.member" && i.service.ActsFor(matrix.UserID(key)) {
		return true, nil
	}
	return i.at(e.RoomID(), at.Room, at.Pos)
}

// at says whether what is of a room, and not of a user, concerns the service at a position.
func (i *interest) at(id matrix.RoomID, nid roomserver.RoomNID, pos int64) (bool, error) {
	if claimed, _ := claims(i.service.rooms, string(id)); claimed {
		return true, nil
	}
	room := i.known[nid]
	if room == nil {
		var err error
		if room, err = i.read(nid); err != nil {
			return false, err
		}
		i.known[nid] = room
	}
	if room.named {
		return true, nil
	}
	for _, m := range room.stays {
		if m.Joined == (m.Pos <= pos) { // is in it since before, or left it afterwards
			return true, nil
		}
	}
	return false, nil
}

// now says whether a room concerns the service at present.
func (i *interest) now(id matrix.RoomID, nid roomserver.RoomNID) (bool, error) {
	return i.at(id, nid, math.MaxInt64)
}

func (i *interest) read(room roomserver.RoomNID) (*about, error) {
	out := new(about)
	aliases, err := i.rooms.LocalAliases(i.tx, room)
	if err != nil {
		return nil, fmt.Errorf("read the aliases of a room: %w", err)
	}
	for _, alias := range aliases {
		out.named = out.named || i.service.NamesRoom(alias)
	}
	members, err := i.rooms.LocalMembers(i.tx, room)
	if err != nil {
		return nil, fmt.Errorf("read the members of a room: %w", err)
	}
	for _, m := range members {
		if i.service.ActsFor(m.User) {
			out.stays = append(out.stays, m)
		}
	}
	return out, nil
}
