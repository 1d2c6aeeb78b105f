package roomserver

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/store"
)

// LocalMember is a user of this server who is in a room, or was.
type LocalMember struct {
	User   matrix.UserID
	Joined bool  // is in it now
	Pos    int64 // where that began
}

// LocalMembers reads the users of this server who are or were in a room.
func (r *Rooms) LocalMembers(tx *store.Tx, room RoomNID) ([]LocalMember, error) {
	return localMembers(tx, room, r.server)
}

// IsJoined says whether a user, of this server or another, is in a room.
func (r *Rooms) IsJoined(tx *store.Tx, room RoomNID, user matrix.UserID) (bool, error) {
	in, err := roomsWith(tx, []RoomNID{room}, user)
	return len(in) > 0, err
}

// RoomsOf reads the rooms that a user is in, of this server or another.
func (r *Rooms) RoomsOf(tx *store.Tx, user matrix.UserID) ([]RoomNID, error) {
	if !r.ours(user) {
		return roomsOfForeign(tx, user)
	}
	all, err := r.UserRooms(tx, user)
	var joined []RoomNID
	for _, in := range all {
		if in.Membership == matrix.Join {
			joined = append(joined, in.Room)
		}
	}
	return joined, err
}

// LocalAliases reads the aliases that a room has on this server.
func (r *Rooms) LocalAliases(tx *store.Tx, room RoomNID) ([]matrix.RoomAlias, error) {
	return aliasesOf(tx, room, aliasesMost)
}

// Entries shows rooms as the directory does, whether they are in it or not: those that a query wants.
func (r *Rooms) Entries(ctx context.Context, rooms []matrix.RoomID, q DirectoryQuery) ([]RoomEntry, error) {
	out := []RoomEntry{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		for _, id := range rooms {
			h, err := r.headOf(tx, id)
			if err != nil {
				return err
			}
			e, err := r.entry(tx, publishedRoom{nid: h.Room, joined: h.Joined, snap: h.Snap})
			if err != nil {
				return err
			}
			if q.wants(e) {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}
