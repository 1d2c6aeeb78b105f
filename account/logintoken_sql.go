package account

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func insertLoginToken(tx *store.Tx, s secret, user matrix.UserID, expires int64) error {
	_, err := tx.Exec(`INSERT INTO login_tokens (ushard, token_hash, user_id, expires_ts) VALUES ($1, $2, $3, $4)`,
		s.shard, s.hash[:], string(user), expires)
	return err
}

// takeLoginToken uses a token up, and tells whose it was; false: it is none, was used, or is over.
func takeLoginToken(tx *store.Tx, s secret, now int64) (matrix.UserID, bool, error) {
	return store.One(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		DELETE FROM login_tokens WHERE ushard = $1 AND token_hash = $2 AND expires_ts > $3 RETURNING user_id`,
		s.shard, s.hash[:], now)
}

func deleteExpiredLoginTokens(tx *store.Tx, now int64) error {
	_, err := tx.Exec(`DELETE FROM login_tokens WHERE expires_ts <= $1`, now)
	return err
}

func deleteLoginTokensOf(tx *store.Tx, user matrix.UserID) error {
	_, err := tx.Exec(`DELETE FROM login_tokens WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return err
}
