package roomserver

import (
	"encoding/json"
	"fmt"

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

// localsEver lists users of this server who are or were in a room, or invited, after one of them.
func localsEver(tx *store.Tx, room RoomNID, server matrix.ServerName, after matrix.UserID, limit int) ([]matrix.UserID, error) {
	return store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT user_id FROM members WHERE shard = $1 AND room_nid = $2 AND user_id > $3 AND user_id LIKE $4 ESCAPE '\'
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
		`DELETE FROM sticky_events WHERE shard = $1 AND room_nid = $2`,
		`DELETE FROM sticky_refused WHERE shard = $1 AND room_nid = $2`,
		`DELETE FROM odd_times WHERE shard = $1 AND room_nid = $2`,
		`DELETE FROM expected_rooms WHERE shard = $1 AND room_nid = $2`,
	} {
		if _, err := tx.Exec(statement, room.Shard(), int64(room)); err != nil {
			return err
		}
	}
	return nil
}

// eventsAfter lists events of a room by their numbers, of whatever status. The room itself may be gone, so that
// they cannot be read as events.
func eventsAfter(tx *store.Tx, room RoomNID, after int64, limit int) ([]Purged, error) {
	return store.Select(tx, func(r store.Row) (Purged, error) {
		e := Purged{Room: room}
		var raw []byte
		if err := r.Scan(&e.NID, &e.ID, &raw); err != nil || len(raw) == 0 {
			return e, err
		}
		var event struct {
			Type   string        `json:"type"`
			Sender matrix.UserID `json:"sender"`
			Key    matrix.UserID `json:"state_key"`
		}
		if err := json.Unmarshal(raw, &event); err != nil {
			return e, fmt.Errorf("read the stored event %s: %w", e.ID, err)
		}
		if e.Sender = event.Sender; event.Type == "m.room.member" {
			e.Member = event.Key
		}
		return e, nil
	}, `
		SELECT e.event_nid, e.event_id, COALESCE(j.json, CAST('' AS {BYTES})) FROM events e
		LEFT JOIN event_json j ON j.shard = e.shard AND j.event_nid = e.event_nid
		WHERE e.shard = $1 AND e.room_nid = $2 AND e.event_nid > $3 ORDER BY e.event_nid LIMIT $4`,
		room.Shard(), int64(room), after, int64(limit))
}

// eventsThere says which events are in the database. more is the end of the query: a condition, or a lock.
func eventsThere(tx *store.Tx, nids []int64, more string) (map[int64]bool, error) {
	there := make(map[int64]bool, len(nids))
	return there, store.Each(tx, func(r store.Row) error {
		nid, err := scanNID(r)
		there[nid] = true
		return err
	}, `SELECT event_nid FROM events WHERE (shard, event_nid) IN {NIDS $1}`+more, store.List(nids))
}

// deleteEvents removes events with all that is about them.
func deleteEvents(tx *store.Tx, room RoomNID, gone []Purged) error {
	nids := make([]int64, len(gone))
	for i, e := range gone {
		nids[i] = e.NID
	}
	if _, err := tx.Exec(`DELETE FROM relations WHERE shard = $1 AND room_nid = $2 AND target {IN $3 TEXT}`,
		room.Shard(), int64(room), store.List(idsOf(gone))); err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM odd_times WHERE shard = $1 AND room_nid = $2 AND seq IN (SELECT seq FROM events WHERE shard = $1 AND event_nid {IN $3 INT8} AND status = 2)`,
		`DELETE FROM timeline WHERE shard = $1 AND room_nid = $2 AND seq IN (SELECT seq FROM events WHERE shard = $1 AND event_nid {IN $3 INT8})
			AND event_nid {IN $3 INT8}`,
		`DELETE FROM sticky_events WHERE shard = $1 AND room_nid = $2 AND event_nid {IN $3 INT8}`,
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
