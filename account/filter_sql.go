package account

import (
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/store"
)

func filterIDs(tx *store.Tx, user matrix.UserID) ([]string, error) {
	return store.Select(tx, scanText, `SELECT filter_id FROM filters WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
}

func scanText(r store.Row) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

func insertFilter(tx *store.Tx, user matrix.UserID, id string, content []byte) error {
	_, err := tx.Exec(`INSERT INTO filters (ushard, user_id, filter_id, content) VALUES ($1, $2, $3, $4)
		ON CONFLICT (ushard, user_id, filter_id) DO NOTHING`, user.Shard(), string(user), id, content)
	return err
}

func readFilter(tx *store.Tx, user matrix.UserID, id string) (json.RawMessage, bool, error) {
	return store.One(tx, scanContent, `SELECT content FROM filters WHERE ushard = $1 AND user_id = $2 AND filter_id = $3`,
		user.Shard(), string(user), id)
}
