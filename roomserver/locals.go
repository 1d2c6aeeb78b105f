package roomserver

import (
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

// LocalAliases reads the aliases that a room has on this server.
func (r *Rooms) LocalAliases(tx *store.Tx, room RoomNID) ([]matrix.RoomAlias, error) {
	return aliasesOf(tx, room, aliasesMost)
}
