package search

import (
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const nameColumns = `user_id, room_nid, doc_id, display_name, avatar_url`

func scanName(r store.Row) (name, error) {
	var n name
	err := r.Scan(&n.user, &n.room, &n.doc, &n.profile.DisplayName, &n.profile.AvatarURL)
	return n, err
}

func readName(tx *store.Tx, user matrix.UserID, room roomserver.RoomNID) (name, bool, error) {
	return store.One(tx, scanName, `SELECT `+nameColumns+` FROM search_names WHERE ushard = $1 AND user_id = $2 AND room_nid = $3`,
		user.Shard(), string(user), int64(room))
}

// readNames reads names by their documents.
func readNames(tx *store.Tx, docs []int64) ([]name, error) {
	return store.Select(tx, scanName, `SELECT `+nameColumns+` FROM search_names WHERE doc_id {IN $1 INT8} ORDER BY doc_id`, store.List(docs))
}

// nextName is a number for a new name. The row of search_rebuild is locked: nobody else takes it.
func nextName(tx *store.Tx) (int64, error) {
	n, _, err := store.One(tx, scanInt, `SELECT COALESCE(MAX(doc_id), 0) + 1 FROM search_names`)
	return n, err
}

func insertName(tx *store.Tx, n name) error {
	_, err := tx.Exec(`
		INSERT INTO search_names (ushard, user_id, room_nid, doc_id, display_name, avatar_url) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (ushard, user_id, room_nid) DO UPDATE SET display_name = excluded.display_name, avatar_url = excluded.avatar_url`,
		n.user.Shard(), string(n.user), int64(n.room), n.doc, n.profile.DisplayName, n.profile.AvatarURL)
	return err
}

func deleteName(tx *store.Tx, user matrix.UserID, room roomserver.RoomNID) error {
	_, err := tx.Exec(`DELETE FROM search_names WHERE ushard = $1 AND user_id = $2 AND room_nid = $3`, user.Shard(), string(user), int64(room))
	return err
}

func writeRoom(tx *store.Tx, room roomserver.RoomNID, public bool) error {
	_, err := tx.Exec(`
		INSERT INTO search_rooms (shard, room_nid, public) VALUES ($1, $2, $3)
		ON CONFLICT (shard, room_nid) DO UPDATE SET public = excluded.public`, room.Shard(), int64(room), public)
	return err
}

func deleteRoom(tx *store.Tx, room roomserver.RoomNID) error {
	_, err := tx.Exec(`DELETE FROM search_rooms WHERE shard = $1 AND room_nid = $2`, room.Shard(), int64(room))
	return err
}

// metRooms says of which rooms the members are known.
func metRooms(tx *store.Tx, nids []int64) (map[int64]bool, error) {
	return intSet(tx, `SELECT room_nid FROM search_rooms WHERE (shard, room_nid) IN {NIDS $1}`, store.List(nids))
}

// publicRooms says which rooms anybody may join or read.
func publicRooms(tx *store.Tx, nids []int64) (map[int64]bool, error) {
	return intSet(tx, `SELECT room_nid FROM search_rooms WHERE (shard, room_nid) IN {NIDS $1} AND public = 1`, store.List(nids))
}
