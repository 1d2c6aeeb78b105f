package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func scanItem(r store.Row) (Item, error) {
	var it Item
	err := r.Scan(&it.Seq, &it.Pos, &it.NID, &it.Snap)
	return it, err
}

func itemsBefore(tx *store.Tx, room RoomNID, seq int64, limit int) ([]Item, error) {
	return store.Select(tx, scanItem, `
		SELECT seq, pos, event_nid, snap FROM timeline
		WHERE shard = $1 AND room_nid = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4`, room.Shard(), int64(room), seq, int64(limit))
}

func itemsAfter(tx *store.Tx, room RoomNID, seq int64, limit int) ([]Item, error) {
	return store.Select(tx, scanItem, `
		SELECT seq, pos, event_nid, snap FROM timeline
		WHERE shard = $1 AND room_nid = $2 AND seq > $3 ORDER BY seq LIMIT $4`, room.Shard(), int64(room), seq, int64(limit))
}

// itemUpTo finds the newest place up to seq whose event was news once.
func itemUpTo(tx *store.Tx, room RoomNID, seq int64) (Item, bool, error) {
	return store.One(tx, scanItem, `
		SELECT seq, pos, event_nid, snap FROM timeline
		WHERE shard = $1 AND room_nid = $2 AND seq <= $3 AND pos > 0 ORDER BY seq DESC LIMIT 1`, room.Shard(), int64(room), seq)
}

// itemOf finds the place of an event.
func itemOf(tx *store.Tx, event int64) (Item, bool, error) {
	return store.One(tx, scanItem, `
		SELECT t.seq, t.pos, t.event_nid, t.snap FROM events e
		JOIN timeline t ON t.shard = e.shard AND t.room_nid = e.room_nid AND t.seq = e.seq
		WHERE e.shard = $1 AND e.event_nid = $2 AND e.status = $3`, event&0xff, event, int64(statusAccepted))
}

// itemsByID finds the places of events of a room, in no order.
func itemsByID(tx *store.Tx, room RoomNID, ids []matrix.EventID) ([]Item, error) {
	nids, err := store.Select(tx, scanNID, `
		SELECT event_nid FROM event_ids WHERE event_id {IN $1 TEXT} AND room_nid = $2`, store.List(ids), int64(room))
	if err != nil {
		return nil, err
	}
	return store.Select(tx, scanItem, `
		SELECT t.seq, t.pos, t.event_nid, t.snap FROM events e
		JOIN timeline t ON t.shard = e.shard AND t.room_nid = e.room_nid AND t.seq = e.seq
		WHERE (e.shard, e.event_nid) IN {NIDS $1} AND e.status = $2`, store.List(nids), int64(statusAccepted))
}

// newestGap finds the greatest seq above a place before which events are missing.
func newestGap(tx *store.Tx, room RoomNID, above int64) (int64, bool, error) {
	return store.One(tx, func(r store.Row) (seq int64, err error) { return seq, r.Scan(&seq) }, `
		SELECT seq FROM room_gaps
		WHERE shard = $1 AND room_nid = $2 AND seq > $3 ORDER BY seq DESC LIMIT 1`, room.Shard(), int64(room), above)
}

// Head is a room as it is now.
type Head struct {
	Room            RoomNID
	ID              matrix.RoomID
	Version         string
	Seq, Pos        int64 // of the newest event
	Snap            int64 // the current state
	Joined, Invited int64
}

// Heads reads what rooms are now.
func (r *Rooms) Heads(tx *store.Tx, rooms []RoomNID) (map[RoomNID]Head, error) {
	nids := make([]int64, len(rooms))
	for i, n := range rooms {
		nids[i] = int64(n)
	}
	rows, err := readHeads(tx, nids, false)
	out := make(map[RoomNID]Head, len(rows))
	for _, h := range rows {
		out[h.nid] = Head{
			Room: h.nid, ID: h.id, Version: h.version, Seq: h.seq, Pos: h.pos, Snap: h.snap,
			Joined: h.joined, Invited: h.invited,
		}
	}
	return out, err
}

// UserRoom is what a user of this server has to do with a room.
type UserRoom struct {
	Room       RoomNID
	ID         matrix.RoomID
	Membership matrix.Membership
	Sender     matrix.UserID // of the member event
	Event      int64         // nid of the member event
	Seq        int64         // of the member event; 0: not in the timeline
	Pos        int64         // where this membership began
	Forgotten  bool
	Stripped   []byte // invites and knocks: a JSON list
}

const userRoomColumns = `room_nid, room_id, membership, sender, event_nid, seq, pos, forgotten, stripped`

func scanUserRoom(r store.Row) (UserRoom, error) {
	var u UserRoom
	var forgotten int64
	err := r.Scan(&u.Room, &u.ID, &u.Membership, &u.Sender, &u.Event, &u.Seq, &u.Pos, &forgotten, &u.Stripped)
	u.Forgotten = forgotten != 0
	return u, err
}

// UserRooms reads all that a user of this server has to do with rooms, by room nid.
func (r *Rooms) UserRooms(tx *store.Tx, user matrix.UserID) ([]UserRoom, error) {
	return store.Select(tx, scanUserRoom, `
		SELECT `+userRoomColumns+` FROM user_rooms
		WHERE ushard = $1 AND user_id = $2 ORDER BY room_nid`, user.Shard(), string(user))
}

// UserRoom reads what a user of this server has to do with one room; false: nothing ever.
func (r *Rooms) UserRoom(tx *store.Tx, user matrix.UserID, room RoomNID) (UserRoom, bool, error) {
	return store.One(tx, scanUserRoom, `
		SELECT `+userRoomColumns+` FROM user_rooms
		WHERE ushard = $1 AND user_id = $2 AND room_nid = $3`, user.Shard(), string(user), int64(room))
}

// UserRoomsIn reads what a user of this server has to do with some rooms.
func (r *Rooms) UserRoomsIn(tx *store.Tx, user matrix.UserID, rooms []RoomNID) ([]UserRoom, error) {
	if len(rooms) == 1 { // what is mostly asked for, and several times quicker than a list of one
		u, ok, err := r.UserRoom(tx, user, rooms[0])
		if !ok || err != nil {
			return nil, err
		}
		return []UserRoom{u}, nil
	}
	nids := make([]int64, len(rooms))
	for i, n := range rooms {
		nids[i] = int64(n)
	}
	return store.Select(tx, scanUserRoom, `
		SELECT `+userRoomColumns+` FROM user_rooms
		WHERE ushard = $1 AND user_id = $2 AND room_nid {IN $3 INT8}`, user.Shard(), string(user), store.List(nids))
}

// Member is a user's membership in the current state of a room.
type Member struct {
	User       matrix.UserID
	Membership matrix.Membership
	Event      int64
}

// Members reads up to limit members with a membership, those of longest standing first.
func (r *Rooms) Members(tx *store.Tx, room RoomNID, m matrix.Membership, limit int) ([]Member, error) {
	return store.Select(tx, func(row store.Row) (Member, error) {
		out := Member{Membership: m}
		return out, row.Scan(&out.User, &out.Event)
	}, `
		SELECT user_id, event_nid FROM members
		WHERE shard = $1 AND room_nid = $2 AND membership = $3 ORDER BY pos LIMIT $4`,
		room.Shard(), int64(room), string(m), int64(limit))
}
