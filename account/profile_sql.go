package account

import (
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// readFields reads a profile; it is empty where there is none.
func readFields(tx *store.Tx, user matrix.UserID) (Fields, error) {
	f, found, err := store.One(tx, scanFields, `SELECT fields FROM profiles WHERE ushard = $1 AND user_id = $2`,
		user.Shard(), string(user))
	if !found && err == nil {
		f = Fields{}
	}
	return f, err
}

func scanFields(r store.Row) (Fields, error) {
	var b []byte
	if err := r.Scan(&b); err != nil {
		return nil, err
	}
	var f Fields
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("stored profile: %w", err)
	}
	return f, nil
}

func writeFields(tx *store.Tx, user matrix.UserID, fields []byte) error {
	_, err := tx.Exec(`INSERT INTO profiles (ushard, user_id, fields) VALUES ($1, $2, $3)
		ON CONFLICT (ushard, user_id) DO UPDATE SET fields = excluded.fields`, user.Shard(), string(user), fields)
	return err
}
