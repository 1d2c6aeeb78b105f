package search

import (
	"errors"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	namedMost       = 50 // rooms that are asked for by name and are none of the viewer's
	predecessorsMax = 20 // how far upgrades are followed back
)

// readable finds the rooms to look at: those that the viewer is in, or was in, or named and may read. What
// they see of them is decided event by event. Where rooms are named their predecessors belong to them.
func (s *Search) readable(tx *store.Tx, q *Query) (map[roomserver.RoomNID]matrix.RoomID, error) {
	own, err := s.rooms.UserRooms(tx, q.Viewer.User)
	if err != nil {
		return nil, err
	}
	mine := make(map[matrix.RoomID]roomserver.RoomNID, len(own))
	for _, ur := range own {
		was := (ur.Membership == matrix.Leave || ur.Membership == matrix.Ban) && ur.Seq != 0 && !ur.Forgotten
		if ur.Membership == matrix.Join || was {
			mine[ur.ID] = ur.Room
		}
	}
	out := make(map[roomserver.RoomNID]matrix.RoomID)
	if q.Filter.Rooms == nil {
		for id, nid := range mine {
			if !slices.Contains(q.Filter.NotRooms, string(id)) {
				out[nid] = id
			}
		}
		return out, nil
	}
	others := 0
	for _, named := range q.Filter.Rooms {
		id := matrix.RoomID(named)
		nid, ok := mine[id]
		if !ok && others < namedMost {
			others++
			if nid, ok, err = s.mayRead(tx, q.Viewer.User, id); err != nil {
				return nil, err
			}
		}
		for i := 0; ok && i <= predecessorsMax; i++ {
			if !slices.Contains(q.Filter.NotRooms, string(id)) {
				out[nid] = id
			}
			if id, err = s.rooms.Predecessor(tx, nid); err != nil {
				return nil, err
			}
			nid, ok = mine[id]
		}
	}
	return out, nil
}

// mayRead asks about a room that the viewer was never in: all the world may read it, or not.
func (s *Search) mayRead(tx *store.Tx, user matrix.UserID, id matrix.RoomID) (roomserver.RoomNID, bool, error) {
	a, err := s.rooms.Access(tx, user, id)
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return 0, false, nil
	}
	return a.Room, err == nil, err
}
