package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// localInviter finds a joined user of this server whom may accepts, among those of longest standing.
func localInviter(tx *store.Tx, room RoomNID, server matrix.ServerName, may func(matrix.UserID) bool) (matrix.UserID, bool, error) {
	const most = 1000 // a bound: rooms where nobody of these may invite are rare
	users, err := store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT user_id FROM members
		WHERE shard = $1 AND room_nid = $2 AND membership = 'join' ORDER BY pos LIMIT $3`,
		room.Shard(), int64(room), int64(most))
	for _, u := range users {
		if u.Server() == server && may(u) {
			return u, true, err
		}
	}
	return "", false, err
}

func forget(tx *store.Tx, user matrix.UserID, room RoomNID) error {
	_, err := tx.Exec(`UPDATE user_rooms SET forgotten = 1 WHERE ushard = $1 AND user_id = $2 AND room_nid = $3`,
		user.Shard(), string(user), int64(room))
	return err
}

// roomsWith finds those of some rooms that a user is in, by room nid.
func roomsWith(tx *store.Tx, rooms []RoomNID, user matrix.UserID) ([]int64, error) {
	return store.Select(tx, scanNID, `
		SELECT room_nid FROM members
		WHERE (shard, room_nid) IN {NIDS $1} AND user_id = $2 AND membership = 'join'
		ORDER BY room_nid`, store.List(rooms), string(user))
}

// memberIn says whether a user, of whichever server, is joined to a room.
func memberIn(tx *store.Tx, room RoomNID, user matrix.UserID) (bool, error) {
	_, ok, err := store.One(tx, scanNID, `
		SELECT event_nid FROM members
		WHERE shard = $1 AND room_nid = $2 AND user_id = $3 AND membership = 'join'`, room.Shard(), int64(room), string(user))
	return ok, err
}

// serverIn says whether a server has joined members in a room.
func serverIn(tx *store.Tx, room RoomNID, server matrix.ServerName) (bool, error) {
	n, ok, err := store.One(tx, scanNID, `
		SELECT joined FROM room_servers
		WHERE shard = $1 AND room_nid = $2 AND server = $3`, room.Shard(), int64(room), string(server))
	return ok && n > 0, err
}

// roomsWithServer finds those of some rooms in which a server has joined members.
func roomsWithServer(tx *store.Tx, rooms []RoomNID, server matrix.ServerName) ([]RoomNID, error) {
	return store.Select(tx, func(r store.Row) (nid RoomNID, err error) { return nid, r.Scan(&nid) }, `
		SELECT room_nid FROM room_servers
		WHERE (shard, room_nid) IN {NIDS $1} AND server = $2 AND joined > 0`, store.List(rooms), string(server))
}

// serverInvited says whether a user of a server is invited to a room.
func serverInvited(tx *store.Tx, room RoomNID, server matrix.ServerName) (bool, error) {
	_, ok, err := store.One(tx, scanNID, `
		SELECT event_nid FROM members
		WHERE shard = $1 AND room_nid = $2 AND membership = 'invite' AND user_id LIKE $3 LIMIT 1`,
		room.Shard(), int64(room), "%:"+string(server)) // a server name has no % and no _
	return ok, err
}
