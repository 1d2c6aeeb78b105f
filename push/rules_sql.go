package push

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// rulesRow is what is stored of a user's rules.
type rulesRow struct {
	changes []byte
	pos     int64
}

func scanRules(r store.Row) (row rulesRow, err error) { return row, r.Scan(&row.changes, &row.pos) }

func readRules(tx *store.Tx, user matrix.UserID, lock bool) (rulesRow, bool, error) {
	query := `SELECT changes, pos FROM push_rules WHERE ushard = $1 AND user_id = $2`
	if lock {
		query += ` {FOR UPDATE}`
	}
	return store.One(tx, scanRules, query, user.Shard(), string(user))
}

// posOfRules is where the newest change of a user's rules is, 0 where there is none.
func posOfRules(tx *store.Tx, user matrix.UserID) (int64, error) {
	pos, _, err := store.One(tx, func(r store.Row) (pos int64, err error) { return pos, r.Scan(&pos) },
		`SELECT pos FROM push_rules WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return pos, err
}

// ensureRules makes a row to be locked.
func ensureRules(tx *store.Tx, user matrix.UserID) error {
	_, err := tx.Exec(`INSERT INTO push_rules (ushard, user_id, changes, pos) VALUES ($1, $2, $3, 0)
		ON CONFLICT (ushard, user_id) DO NOTHING`, user.Shard(), string(user), []byte{})
	return err
}

func writeRules(tx *store.Tx, user matrix.UserID, changes []byte, pos int64) error {
	_, err := tx.Exec(`UPDATE push_rules SET changes = $3, pos = $4 WHERE ushard = $1 AND user_id = $2`,
		user.Shard(), string(user), changes, pos)
	return err
}

// deleteUser removes all that is stored of a user.
func deleteUser(tx *store.Tx, user matrix.UserID) error {
	for _, query := range []string{
		`DELETE FROM push_rules WHERE ushard = $1 AND user_id = $2`,
		`DELETE FROM unread WHERE ushard = $1 AND user_id = $2`,
		`DELETE FROM thread_subscriptions WHERE ushard = $1 AND user_id = $2`,
	} {
		if _, err := tx.Exec(query, user.Shard(), string(user)); err != nil {
			return err
		}
	}
	list, err := Pushers(tx, user)
	if err != nil {
		return err
	}
	for _, pusher := range list {
		if err := deletePusher(tx, user, pusher.AppID, pusher.Pushkey); err != nil {
			return err
		}
	}
	return nil
}
