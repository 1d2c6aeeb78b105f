package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

func scanUser(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }

func writeListChange(tx *store.Tx, user matrix.UserID, pos int64) error {
	_, err := tx.Exec(`
		INSERT INTO device_lists (ushard, user_id, pos) VALUES ($1, $2, $3)
		ON CONFLICT (ushard, user_id) DO UPDATE SET pos = excluded.pos`, user.Shard(), string(user), pos)
	return err
}

// readListChange reads where the devices of a user changed last.
func readListChange(tx *store.Tx, user matrix.UserID) (int64, error) {
	pos, _, err := store.One(tx, func(r store.Row) (pos int64, err error) { return pos, r.Scan(&pos) }, `
		SELECT pos FROM device_lists WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return pos, err
}

// roomsOf reads the rooms that a user of this server is in.
func roomsOf(tx *store.Tx, user matrix.UserID) ([]roomserver.RoomNID, error) {
	return store.Select(tx, func(r store.Row) (nid roomserver.RoomNID, err error) { return nid, r.Scan(&nid) }, `
		SELECT room_nid FROM user_rooms
		WHERE ushard = $1 AND user_id = $2 AND membership = 'join'`, user.Shard(), string(user))
}

// serversIn reads the other servers that have members in rooms.
func serversIn(tx *store.Tx, rooms []roomserver.RoomNID, ours matrix.ServerName) ([]matrix.ServerName, error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	return store.Select(tx, func(r store.Row) (s matrix.ServerName, err error) { return s, r.Scan(&s) }, `
		SELECT DISTINCT server FROM room_servers
		WHERE (shard, room_nid) IN {NIDS $1} AND joined > 0 AND server <> $2 ORDER BY server`, store.List(rooms), string(ours))
}

// readListChanges reads whose devices changed since a position.
func readListChanges(tx *store.Tx, since int64) ([]matrix.UserID, error) {
	return store.Select(tx, scanUser, `SELECT user_id FROM device_lists WHERE pos > $1`, since)
}

// readSignedSince reads whose keys a user has signed since a position.
func readSignedSince(tx *store.Tx, user matrix.UserID, since int64) ([]matrix.UserID, error) {
	return store.Select(tx, scanUser, `
		SELECT DISTINCT target FROM key_signatures
		WHERE ushard = $1 AND user_id = $2 AND pos > $3`, user.Shard(), string(user), since)
}

// readMembersSince reads the users whose membership of one of the kinds began after a position.
func readMembersSince(tx *store.Tx, rooms []roomserver.RoomNID, since int64, kinds ...matrix.Membership) ([]matrix.UserID, error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	return store.Select(tx, scanUser, `
		SELECT DISTINCT user_id FROM members
		WHERE (shard, room_nid) IN {NIDS $1} AND membership {IN $2 TEXT} AND pos > $3`,
		store.List(rooms), store.List(kinds), since)
}

// readJoined reads up to limit members of rooms.
func readJoined(tx *store.Tx, rooms []roomserver.RoomNID, limit int) ([]matrix.UserID, error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	return store.Select(tx, scanUser, `
		SELECT DISTINCT user_id FROM members
		WHERE (shard, room_nid) IN {NIDS $1} AND membership = 'join' LIMIT $2`, store.List(rooms), int64(limit))
}

// readSharing reads which of the users are in one of the rooms, since a position or before.
func readSharing(tx *store.Tx, rooms []roomserver.RoomNID, users []matrix.UserID, upto int64) (map[matrix.UserID]bool, error) {
	shared := make(map[matrix.UserID]bool)
	if len(rooms) == 0 || len(users) == 0 {
		return shared, nil
	}
	err := store.Each(tx, func(r store.Row) error {
		u, err := scanUser(r)
		shared[u] = true
		return err
	}, `
		SELECT DISTINCT user_id FROM members
		WHERE (shard, room_nid) IN {NIDS $1} AND user_id {IN $2 TEXT} AND membership = 'join' AND pos <= $3`,
		store.List(rooms), store.List(users), upto)
	return shared, err
}
