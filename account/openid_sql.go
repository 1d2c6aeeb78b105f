package account

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func insertOpenID(tx *store.Tx, s secret, user matrix.UserID, expires int64) error {
	_, err := tx.Exec(`INSERT INTO openid_tokens (ushard, token_hash, user_id, expires_ts) VALUES ($1, $2, $3, $4)`,
		s.shard, s.hash[:], string(user), expires)
	return err
}

func readOpenID(tx *store.Tx, s secret, now int64) (matrix.UserID, bool, error) {
	return store.One(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT user_id FROM openid_tokens WHERE ushard = $1 AND token_hash = $2 AND expires_ts > $3`,
		s.shard, s.hash[:], now)
}

func deleteExpiredOpenID(tx *store.Tx, now int64) error {
	_, err := tx.Exec(`DELETE FROM openid_tokens WHERE expires_ts <= $1`, now)
	return err
}
