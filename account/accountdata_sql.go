package account

import (
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/store"
)

// deleted is what stands in the place of a piece of account data that was deleted, so that syncing devices
// are told.
//
// Extension: MSC3391.
var deleted = []byte("{}")

func scanDatum(r store.Row) (d AccountDatum, err error) {
	var room string
	var content []byte
	err = r.Scan(&room, &d.Type, &content, &d.Pos)
	d.Room, d.Content = matrix.RoomID(room), content
	return d, err
}

// AccountDataSince reads the account data that a user changed after the position since, up to upto,
// in the order of the changes: an empty object tells that a piece was deleted. From 0 on it is all there is.
func AccountDataSince(tx *store.Tx, user matrix.UserID, since, upto int64) ([]AccountDatum, error) {
	return store.Select(tx, scanDatum, `SELECT room_id, type, content, pos FROM account_data
		WHERE ushard = $1 AND user_id = $2 AND pos > $3 AND pos <= $4 AND (CAST($3 AS {INT8}) > 0 OR content <> $5) ORDER BY pos`,
		user.Shard(), string(user), since, upto, deleted)
}

// readRoomData reads what a user attached to a room.
func readRoomData(tx *store.Tx, user matrix.UserID, room matrix.RoomID) ([]AccountDatum, error) {
	return store.Select(tx, scanDatum, `SELECT room_id, type, content, pos FROM account_data
		WHERE ushard = $1 AND user_id = $2 AND room_id = $3 AND content <> $4 ORDER BY type`,
		user.Shard(), string(user), string(room), deleted)
}

// ReadRoomDataSince is AccountDataSince for the data of one room.
func ReadRoomDataSince(tx *store.Tx, user matrix.UserID, room matrix.RoomID, since, upto int64) ([]AccountDatum, error) {
	return store.Select(tx, scanDatum, `SELECT room_id, type, content, pos FROM account_data
		WHERE ushard = $1 AND user_id = $2 AND room_id = $3 AND pos > $4 AND pos <= $5 AND (CAST($4 AS {INT8}) > 0 OR content <> $6)
		ORDER BY pos`,
		user.Shard(), string(user), string(room), since, upto, deleted)
}

// ReadDataOfType reads what a user set by a type, in all rooms.
func ReadDataOfType(tx *store.Tx, user matrix.UserID, tp string) ([]AccountDatum, error) {
	return store.Select(tx, scanDatum, `SELECT room_id, type, content, pos FROM account_data
		WHERE ushard = $1 AND user_id = $2 AND type = $3 AND content <> $4`,
		user.Shard(), string(user), tp, deleted)
}

// ReadAccountData reads a piece of account data.
func ReadAccountData(tx *store.Tx, user matrix.UserID, room matrix.RoomID, tp string) (json.RawMessage, bool, error) {
	return store.One(tx, scanContent, `SELECT content FROM account_data
		WHERE ushard = $1 AND user_id = $2 AND room_id = $3 AND type = $4 AND content <> $5`,
		user.Shard(), string(user), string(room), tp, deleted)
}

func scanContent(r store.Row) (json.RawMessage, error) {
	var b []byte
	err := r.Scan(&b)
	return b, err
}

func scanCount(r store.Row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}

func countData(tx *store.Tx, user matrix.UserID) (int64, error) {
	n, _, err := store.One(tx, scanCount, `SELECT count(*) FROM account_data WHERE ushard = $1 AND user_id = $2`,
		user.Shard(), string(user))
	return n, err
}

func writeDatum(tx *store.Tx, user matrix.UserID, d AccountDatum) error {
	_, err := tx.Exec(`INSERT INTO account_data (ushard, user_id, room_id, type, content, pos) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (ushard, user_id, room_id, type) DO UPDATE SET content = excluded.content, pos = excluded.pos
		WHERE account_data.pos < excluded.pos`,
		user.Shard(), string(user), string(d.Room), d.Type, []byte(d.Content), d.Pos)
	return err
}

// ForgetRoom removes the account data that users have of a room, which is about to be removed.
func ForgetRoom(tx *store.Tx, room matrix.RoomID, users []matrix.UserID) error {
	shards := make([]int64, len(users))
	for i, u := range users {
		shards[i] = u.Shard()
	}
	_, err := tx.Exec(`DELETE FROM account_data WHERE ushard {IN $1 INT8} AND user_id {IN $2 TEXT} AND room_id = $3`,
		store.List(shards), store.List(users), string(room))
	return err
}

// typesThere tells which of the types of global account data a user has.
func typesThere(tx *store.Tx, user matrix.UserID, types []string) ([]string, error) {
	return store.Select(tx, func(r store.Row) (tp string, err error) { return tp, r.Scan(&tp) }, `SELECT type FROM account_data
		WHERE ushard = $1 AND user_id = $2 AND room_id = '' AND type {IN $3 TEXT} AND content <> $4`,
		user.Shard(), string(user), store.List(types), deleted)
}
