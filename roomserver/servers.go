package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// ServerStay says when a server has had joined members in a room, in positions of the stream.
type ServerStay struct {
	Server matrix.ServerName
	Joined bool  // it has some now
	Since  int64 // where its newest stay began; 0: with the room
	Until  int64 // where a stay ended last; 0: never
}

// Has says whether an event at a position is for the server: it was in the room before or after it, so that a
// server whose last user leaves, is kicked or banned hears of that; and it was not anew in the room
// since, by which it has learnt everything that this server may tell. With the event by which its stay began it
// has told us of it itself: it joined, or let a user of ours in.
func (s ServerStay) Has(pos int64) bool {
	return (s.Since == 0 || s.Since < pos) && (s.Joined || s.Until >= pos)
}

// Servers reads which other servers are in rooms, or were.
func (r *Rooms) Servers(tx *store.Tx, rooms []RoomNID) (map[RoomNID][]ServerStay, error) {
	return readServers(tx, rooms, r.server)
}

// ServersIn reads which other servers are in a room.
func (r *Rooms) ServersIn(tx *store.Tx, room RoomNID) ([]matrix.ServerName, error) {
	return readServersIn(tx, room, r.server)
}

// Relayed tells which of some events this server brings to the others of their room although they are not of
// its users.
func (r *Rooms) Relayed(tx *store.Tx, events []int64) (map[int64]bool, error) {
	return readRelayed(tx, events)
}

// Relay notes that this server brings an event of another server to the others of its room, in the transaction
// that puts it into the timeline.
func Relay(tx *store.Tx, event int64) error { return writeRelayed(tx, event) }

// serverChange is what a batch does to the stay of a server in a room.
type serverChange struct {
	joined       int64 // members, more or less
	since, until int64 // where the first one came, where the last one that left did so; 0: none did
}

// serverChanges sums up the changes of memberships by room and server.
func (b *batch) serverChanges() map[serverKey]*serverChange {
	changes := make(map[serverKey]*serverChange)
	for _, m := range b.moved {
		if (m.was == matrix.Join) == (m.is == matrix.Join) {
			continue
		}
		k := serverKey{m.room, m.user.Server()}
		c := changes[k]
		if c == nil {
			c = new(serverChange)
			changes[k] = c
		}
		if m.is == matrix.Join {
			c.joined++
			if c.since == 0 {
				c.since = m.by.pos
			}
		} else {
			c.joined--
			c.until = m.by.pos
		}
	}
	return changes
}
