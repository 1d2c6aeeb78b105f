package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// localsIn lists users of this server who are in a room, invited to it or knock, after one of them.
func localsIn(tx *store.Tx, room RoomNID, server matrix.ServerName, after matrix.UserID, limit int) ([]matrix.UserID, error) {
	return store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT user_id FROM members
		WHERE shard = $1 AND room_nid = $2 AND user_id > $3 AND membership IN ('join', 'invite', 'knock') AND user_id LIKE $4 ESCAPE '\'
		ORDER BY user_id LIMIT $5`, room.Shard(), int64(room), string(after), oursLike(server), int64(limit))
}

// deleteRoom takes a room out of what anybody can see: without its head nothing of it can be read.
func deleteRoom(tx *store.Tx, room RoomNID, locals []matrix.UserID) error {
	shards := make([]int64, len(locals))
	for i, u := range locals {
		shards[i] = u.Shard()
	}
	if _, err := tx.Exec(`DELETE FROM user_rooms WHERE ushard {IN $1 INT8} AND user_id {IN $2 TEXT} AND room_nid = $3`,
		store.List(shards), store.List(locals), int64(room)); err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM rooms WHERE shard = $1 AND room_nid = $2`,
		`DELETE FROM members WHERE shard = $1 AND room_nid = $2`,
		`DELETE FROM room_servers WHERE shard = $1 AND room_nid = $2`,
		`DELETE FROM room_gaps WHERE shard = $1 AND room_nid = $2`,
		`DELETE FROM awaited_redactions WHERE shard = $1 AND room_nid = $2`,
	} {
		if _, err := tx.Exec(statement, room.Shard(), int64(room)); err != nil {
			return err
		}
	}
	return nil
}

// eventsAfter lists events of a room by their numbers, of whatever status.
func eventsAfter(tx *store.Tx, room RoomNID, after int64, limit int) (nids []int64, ids []matrix.EventID, err error) {
	err = store.Each(tx, func(r store.Row) error {
		var nid int64
		var id matrix.EventID
		err := r.Scan(&nid, &id)
		nids, ids = append(nids, nid), append(ids, id)
		return err
	}, `SELECT event_nid, event_id FROM events WHERE shard = $1 AND room_nid = $2 AND event_nid > $3 ORDER BY event_nid LIMIT $4`,
		room.Shard(), int64(room), after, int64(limit))
	return nids, ids, err
}

// deleteEvents removes events with all that is about them.
func deleteEvents(tx *store.Tx, room RoomNID, nids []int64, ids []matrix.EventID) error {
	if _, err := tx.Exec(`DELETE FROM relations WHERE shard = $1 AND room_nid = $2 AND target {IN $3 TEXT}`,
		room.Shard(), int64(room), store.List(ids)); err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM timeline WHERE shard = $1 AND room_nid = $2 AND seq IN (SELECT seq FROM events WHERE shard = $1 AND event_nid {IN $3 INT8})
			AND event_nid {IN $3 INT8}`,
		`DELETE FROM event_json WHERE shard = $1 AND $2 <> 0 AND event_nid {IN $3 INT8}`,
		`DELETE FROM events WHERE shard = $1 AND room_nid = $2 AND event_nid {IN $3 INT8}`,
	} {
		if _, err := tx.Exec(statement, room.Shard(), int64(room), store.List(nids)); err != nil {
			return err
		}
	}
	return nil
}

// forgetEventIDs makes ids of events unknown.
func forgetEventIDs(tx *store.Tx, ids []matrix.EventID) error {
	_, err := tx.Exec(`DELETE FROM event_ids WHERE event_id {IN $1 TEXT}`, store.List(ids))
	return err
}

// slowestFollower is the position up to which all followers have read.
func slowestFollower(tx *store.Tx) (int64, bool, error) {
	return store.One(tx, func(r store.Row) (pos int64, err error) { return pos, r.Scan(&pos) }, `SELECT pos FROM followers ORDER BY pos LIMIT 1`)
}

// roomsOf lists the rooms that anybody is or was in: it looks through all shards, for administrators.
func roomsOf(tx *store.Tx, user matrix.UserID, limit int) ([]matrix.RoomID, error) {
	return store.Select(tx, func(r store.Row) (id matrix.RoomID, err error) { return id, r.Scan(&id) }, `
		SELECT r.room_id FROM members m JOIN rooms r ON r.shard = m.shard AND r.room_nid = m.room_nid
		WHERE m.user_id = $1 ORDER BY r.room_id LIMIT $2`, string(user), int64(limit))
}
