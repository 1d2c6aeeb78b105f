package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// membersElsewhere lists some users of other servers of whom a room has rows, and some other servers.
func membersElsewhere(tx *store.Tx, room RoomNID, ours matrix.ServerName, limit int) (users []matrix.UserID, servers []matrix.ServerName, err error) {
	users, err = store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT user_id FROM members
		WHERE shard = $1 AND room_nid = $2 AND user_id NOT LIKE $3 ESCAPE '\' LIMIT $4`,
		room.Shard(), int64(room), oursLike(ours), int64(limit))
	if err != nil {
		return nil, nil, err
	}
	servers, err = store.Select(tx, func(r store.Row) (s matrix.ServerName, err error) { return s, r.Scan(&s) }, `
		SELECT server FROM room_servers
		WHERE shard = $1 AND room_nid = $2 AND server <> $3 LIMIT $4`, room.Shard(), int64(room), string(ours), int64(limit))
	return users, servers, err
}

func deleteMembers(tx *store.Tx, room RoomNID, users []matrix.UserID, servers []matrix.ServerName) error {
	_, err := tx.Exec(`DELETE FROM members WHERE shard = $1 AND room_nid = $2 AND user_id {IN $3 TEXT}`,
		room.Shard(), int64(room), store.List(users))
	if err == nil {
		_, err = tx.Exec(`DELETE FROM room_servers WHERE shard = $1 AND room_nid = $2 AND server {IN $3 TEXT}`,
			room.Shard(), int64(room), store.List(servers))
	}
	return err
}

// insertMembers writes members of a room that this server is not in yet.
func insertMembers(tx *store.Tx, room RoomNID, members []memberRow) error {
	rows := make([][]any, len(members))
	for i, m := range members {
		rows[i] = []any{room.Shard(), int64(room), string(m.user), string(m.membership), m.event, m.pos}
	}
	return bulk(tx, store.Bulk{
		Table: "members", Columns: []string{"shard", "room_nid", "user_id", "membership", "event_nid", "pos"}, Rows: rows,
		OnConflict: `ON CONFLICT (shard, room_nid, user_id) DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
			pos = excluded.pos`,
	})
}

// beginStays lets the stays of the other servers in a room begin where we enter it.
func beginStays(tx *store.Tx, room RoomNID, ours matrix.ServerName, pos int64) error {
	_, err := tx.Exec(`UPDATE room_servers SET since = $1 WHERE shard = $2 AND room_nid = $3 AND server <> $4 AND joined > 0`,
		pos, room.Shard(), int64(room), string(ours))
	return err
}
