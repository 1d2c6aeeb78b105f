package policy

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// noticeRoom is the room of a user's notices, empty where there is none.
func noticeRoom(tx *store.Tx, user matrix.UserID) (room matrix.RoomID, err error) {
	room, _, err = store.One(tx, func(r store.Row) (id matrix.RoomID, err error) { return id, r.Scan(&id) },
		`SELECT room_id FROM notice_rooms WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return room, err
}

// insertNoticeRoom notes the room of a user's notices in the place of old, which may be none. False: somebody
// else has made one meanwhile.
func insertNoticeRoom(tx *store.Tx, user matrix.UserID, room, old matrix.RoomID) (bool, error) {
	n, err := tx.Exec(`INSERT INTO notice_rooms (ushard, user_id, room_id) VALUES ($1, $2, $3)
		ON CONFLICT (ushard, user_id) DO UPDATE SET room_id = excluded.room_id WHERE notice_rooms.room_id = $4`,
		user.Shard(), string(user), string(room), string(old))
	return n == 1, err
}
