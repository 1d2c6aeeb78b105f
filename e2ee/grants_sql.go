package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

func writeGrant(tx *store.Tx, user matrix.UserID, until int64) error {
	_, err := tx.Exec(`INSERT INTO cross_signing_grants (ushard, user_id, until) VALUES ($1, $2, $3)
		ON CONFLICT (ushard, user_id) DO UPDATE SET until = excluded.until`, user.Shard(), string(user), until)
	return err
}

// takeGrant says whether a user may replace their keys without a password, and ends that.
func takeGrant(tx *store.Tx, user matrix.UserID, now int64) (bool, error) {
	n, err := tx.Exec(`DELETE FROM cross_signing_grants WHERE ushard = $1 AND user_id = $2 AND until > $3`, user.Shard(), string(user), now)
	return n == 1, err
}

// deleteOldGrants forgets those that nobody has used in time.
func deleteOldGrants(tx *store.Tx, now int64) error {
	_, err := tx.Exec(`DELETE FROM cross_signing_grants WHERE until <= $1`, now)
	return err
}
