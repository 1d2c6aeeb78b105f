package ephemeral

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const receiptColumns = `room_nid, user_id, private, thread, event_id, seq, ts, pos`

func scanReceipt(row store.Row) (Receipt, error) {
	var r Receipt
	var private int64
	err := row.Scan(&r.Room, &r.User, &private, &r.Thread, &r.Event, &r.Seq, &r.TS, &r.Pos)
	r.Private = private != 0
	return r, err
}

func seqOfReceipt(tx *store.Tx, r Receipt) (seq int64, found bool, err error) {
	return store.One(tx, func(row store.Row) (seq int64, err error) { return seq, row.Scan(&seq) }, `
		SELECT seq FROM receipts
		WHERE shard = $1 AND room_nid = $2 AND user_id = $3 AND private = $4 AND thread = $5`,
		r.Room.Shard(), int64(r.Room), string(r.User), r.Private, r.Thread)
}

func writeReceipt(tx *store.Tx, r Receipt) error {
	_, err := tx.Exec(`
		INSERT INTO receipts (shard, `+receiptColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (shard, room_nid, user_id, private, thread) DO UPDATE
		SET event_id = excluded.event_id, seq = excluded.seq, ts = excluded.ts, pos = excluded.pos
		WHERE receipts.seq < excluded.seq`,
		r.Room.Shard(), int64(r.Room), string(r.User), r.Private, r.Thread, string(r.Event), r.Seq, r.TS, r.Pos)
	return err
}

// newReceipts reads the receipts between two positions, in their order.
func newReceipts(tx *store.Tx, after, upto int64) ([]Receipt, error) {
	return store.Select(tx, scanReceipt, `
		SELECT `+receiptColumns+` FROM receipts WHERE pos > $1 AND pos <= $2 ORDER BY pos`, after, upto)
}

// ReceiptPositions reads positions of receipts behind one, in their order.
func (e *Ephemeral) ReceiptPositions(tx *store.Tx, after int64, limit int) ([]int64, error) {
	return store.Select(tx, func(row store.Row) (pos int64, err error) { return pos, row.Scan(&pos) },
		`SELECT pos FROM receipts WHERE pos > $1 ORDER BY pos LIMIT $2`, after, int64(limit))
}

// ReceiptsBetween reads the receipts of all rooms, private ones too, from one position to another, in their order.
func (e *Ephemeral) ReceiptsBetween(tx *store.Tx, from, upto int64) ([]Receipt, error) {
	return newReceipts(tx, from-1, upto)
}

// maxFirstReceipts bounds the receipts of a room that a first answer tells: the newest.
const maxFirstReceipts = 500

// ReceiptsSince reads the receipts that came into rooms after the position since, up to upto, without the
// private ones of others. From 0 on it is all there is, but of large rooms the newest.
func (e *Ephemeral) ReceiptsSince(tx *store.Tx, rooms []roomserver.RoomNID, since, upto int64, user matrix.UserID) ([]Receipt, error) {
	if since <= 0 {
		return e.allReceipts(tx, rooms, upto, user)
	}
	moved, log, whole, err := e.heads.since(tx, rooms, since, upto)
	switch {
	case err != nil:
		return nil, fmt.Errorf("find rooms with new receipts: %w", err)
	case len(moved) == 0:
		return nil, nil
	case whole:
		return pick(log, moved, upto, user), nil
	}
	return store.Select(tx, scanReceipt, `
		SELECT `+receiptColumns+` FROM receipts
		WHERE (shard, room_nid) IN {NIDS $1} AND pos > $2 AND pos <= $3 AND (private = 0 OR user_id = $4)
		ORDER BY room_nid, pos`, store.List(moved), since, upto, string(user))
}

func (e *Ephemeral) allReceipts(tx *store.Tx, rooms []roomserver.RoomNID, upto int64, user matrix.UserID) ([]Receipt, error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	return store.Select(tx, scanReceipt, `
		SELECT `+receiptColumns+` FROM (
			SELECT `+receiptColumns+`, ROW_NUMBER() OVER (PARTITION BY room_nid ORDER BY pos DESC) AS place
			FROM receipts
			WHERE (shard, room_nid) IN {NIDS $1} AND pos <= $2 AND (private = 0 OR user_id = $3)
		) AS newest
		WHERE place <= $4 OR user_id = $3
		ORDER BY room_nid, pos`, store.List(rooms), upto, string(user), int64(maxFirstReceipts))
}

// ReceiptsFrom reads the receipts of a room's events from a place on, without the private ones of others: the newest,
// where there are many; and all that are the user's own. A place of 0 is behind all.
func (e *Ephemeral) ReceiptsFrom(tx *store.Tx, room roomserver.RoomNID, seq int64, user matrix.UserID) ([]Receipt, error) {
	if seq == 0 {
		seq = 1 << 62
	}
	return store.Select(tx, scanReceipt, `
		SELECT `+receiptColumns+` FROM (
			SELECT `+receiptColumns+` FROM receipts
			WHERE shard = $1 AND room_nid = $2 AND seq >= $3 AND private = 0 AND user_id <> $4
			ORDER BY seq DESC, pos DESC LIMIT $5
		) AS newest
		UNION ALL
		SELECT `+receiptColumns+` FROM receipts WHERE shard = $1 AND room_nid = $2 AND user_id = $4`,
		room.Shard(), int64(room), seq, string(user), int64(maxFirstReceipts))
}

// ReadUpTo reads up to which place a user has read rooms, by thread; the thread "" is the room as a whole.
func (e *Ephemeral) ReadUpTo(tx *store.Tx, user matrix.UserID, rooms []roomserver.RoomNID) (map[roomserver.RoomNID]map[string]int64, error) {
	out := make(map[roomserver.RoomNID]map[string]int64, len(rooms))
	err := store.Each(tx, func(row store.Row) error {
		var room, seq int64
		var thread string
		if err := row.Scan(&room, &thread, &seq); err != nil {
			return err
		}
		places := out[roomserver.RoomNID(room)]
		if places == nil {
			places = make(map[string]int64)
			out[roomserver.RoomNID(room)] = places
		}
		places[thread] = max(places[thread], seq)
		return nil
	}, `SELECT room_nid, thread, seq FROM receipts WHERE (shard, room_nid) IN {NIDS $1} AND user_id = $2`,
		store.List(rooms), string(user))
	return out, err
}

// emptied removes receipts of a room that is being removed: a hook for package roomserver.
func emptied(tx *store.Tx, room roomserver.RoomNID, most int) (int, error) {
	users, err := store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT DISTINCT user_id FROM receipts WHERE shard = $1 AND room_nid = $2 ORDER BY user_id LIMIT $3`, room.Shard(), int64(room), int64(most))
	if err != nil || len(users) == 0 {
		return 0, err
	}
	_, err = tx.Exec(`DELETE FROM receipts WHERE shard = $1 AND room_nid = $2 AND user_id {IN $3 TEXT}`, room.Shard(), int64(room), store.List(users))
	return len(users), err
}

// forget removes the receipts of a user, whose account ends.
func forget(tx *store.Tx, user matrix.UserID, rooms []int64) error {
	_, err := tx.Exec(`DELETE FROM receipts WHERE (shard, room_nid) IN {NIDS $1} AND user_id = $2`, store.List(rooms), string(user))
	return err
}
