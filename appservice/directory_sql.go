package appservice

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func writeNetworkRoom(tx *store.Tx, instance string, room matrix.RoomID, public bool) error {
	statement := `DELETE FROM network_rooms WHERE instance = $1 AND room_id = $2`
	if public {
		statement = `INSERT INTO network_rooms (instance, room_id) VALUES ($1, $2) ON CONFLICT (instance, room_id) DO NOTHING`
	}
	_, err := tx.Exec(statement, instance, string(room))
	return err
}

func readNetworkRooms(tx *store.Tx, instance string, after matrix.RoomID, limit int) ([]matrix.RoomID, error) {
	return store.Select(tx, func(r store.Row) (id matrix.RoomID, err error) { return id, r.Scan(&id) },
		`SELECT room_id FROM network_rooms WHERE instance = $1 AND room_id > $2 ORDER BY room_id LIMIT $3`,
		instance, string(after), int64(limit))
}
