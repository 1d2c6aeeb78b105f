package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func insertBlock(tx *store.Tx, id matrix.RoomID, by matrix.UserID, now int64) error {
	_, err := tx.Exec(`INSERT INTO blocked_rooms (room_id, by_user, ts) VALUES ($1, $2, $3) ON CONFLICT (room_id) DO NOTHING`,
		string(id), string(by), now)
	return err
}

func deleteBlock(tx *store.Tx, id matrix.RoomID) error {
	_, err := tx.Exec(`DELETE FROM blocked_rooms WHERE room_id = $1`, string(id))
	return err
}

// blockOf tells who has blocked a room; false: nobody.
func blockOf(tx *store.Tx, id matrix.RoomID) (matrix.UserID, bool, error) {
	return store.One(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) },
		`SELECT by_user FROM blocked_rooms WHERE room_id = $1`, string(id))
}
