package account

import (
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

const userColumns = `user_id, kind, password_hash, admin, locked, suspended, created_ts, deactivated_ts, erased, appservice_id, shadow_banned, limit_rate, limit_burst`

func scanUser(r store.Row) (u User, err error) {
	var id string
	var kind, admin, locked, suspended, erased, shadowed int64
	err = r.Scan(&id, &kind, &u.hash, &admin, &locked, &suspended, &u.Created, &u.Deactivated, &erased, &u.AppService,
		&shadowed, &u.Limit.Rate, &u.Limit.Burst)
	u.ID, u.Kind = matrix.UserID(id), Kind(kind)
	u.Admin, u.Locked, u.Suspended, u.Erased, u.Shadowed = admin != 0, locked != 0, suspended != 0, erased != 0, shadowed != 0
	return u, err
}

func readUser(tx *store.Tx, user matrix.UserID) (User, bool, error) {
	return store.One(tx, scanUser, `SELECT `+userColumns+` FROM users WHERE ushard = $1 AND user_id = $2`,
		user.Shard(), string(user))
}

// lockUser reads a user and keeps others from writing what hangs on it until the commit.
func lockUser(tx *store.Tx, user matrix.UserID) (User, bool, error) {
	return store.One(tx, scanUser, `SELECT `+userColumns+` FROM users WHERE ushard = $1 AND user_id = $2 {FOR UPDATE}`,
		user.Shard(), string(user))
}

// readUsers looks through all shards: it is for administrators.
func readUsers(tx *store.Tx, after matrix.UserID, limit int) ([]User, error) {
	return store.Select(tx, scanUser, `SELECT `+userColumns+` FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2`,
		string(after), limit)
}

// insertUser makes an account; false where the name is taken.
func insertUser(tx *store.Tx, u *User) (bool, error) {
	n, err := tx.Exec(`INSERT INTO users (ushard, user_id, kind, password_hash, admin, created_ts, appservice_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (ushard, user_id) DO NOTHING`,
		u.ID.Shard(), string(u.ID), int64(u.Kind), u.hash, flag(u.Admin), u.Created, u.AppService)
	return n == 1, err
}

// upgradeGuest makes a user of a guest; false where there is no such guest.
func upgradeGuest(tx *store.Tx, u *User) (bool, error) {
	n, err := tx.Exec(`UPDATE users SET kind = $3, password_hash = $4 WHERE ushard = $1 AND user_id = $2 AND kind = $5 AND deactivated_ts = 0`,
		u.ID.Shard(), string(u.ID), int64(Person), u.hash, int64(Guest))
	return n == 1, err
}

// guestsAmong finds those of some users who are guests.
func guestsAmong(tx *store.Tx, users []matrix.UserID) (guests []matrix.UserID, err error) {
	shards := make([]int64, len(users))
	for i, u := range users {
		shards[i] = u.Shard()
	}
	slices.Sort(shards)
	return store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT user_id FROM users WHERE ushard {IN $1 INT8} AND user_id {IN $2 TEXT} AND kind = $3 ORDER BY user_id`,
		store.List(slices.Compact(shards)), store.List(users), int64(Guest))
}

func writePassword(tx *store.Tx, user matrix.UserID, hash string) error {
	_, err := tx.Exec(`UPDATE users SET password_hash = $3 WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user), hash)
	return err
}

// rewritePassword replaces a hash by a newer form of the same password, unless it was changed meanwhile.
func rewritePassword(tx *store.Tx, user matrix.UserID, old, hash string) error {
	_, err := tx.Exec(`UPDATE users SET password_hash = $4 WHERE ushard = $1 AND user_id = $2 AND password_hash = $3`,
		user.Shard(), string(user), old, hash)
	return err
}

func writeDeactivated(tx *store.Tx, user matrix.UserID, now int64, erase bool) error {
	shard, id := user.Shard(), string(user)
	if _, err := tx.Exec(`UPDATE users SET deactivated_ts = $3, erased = $4, password_hash = '', admin = 0
		WHERE ushard = $1 AND user_id = $2`, shard, id, now, flag(erase)); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM profiles WHERE ushard = $1 AND user_id = $2`, shard, id); err != nil {
		return err
	}
	if !erase {
		return nil
	}
	if _, err := tx.Exec(`DELETE FROM filters WHERE ushard = $1 AND user_id = $2`, shard, id); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM account_data WHERE ushard = $1 AND user_id = $2`, shard, id)
	return err
}

// flagStatements are the statements that set the flags of accounts.
var flagStatements = map[Flag]string{
	Admin:     `UPDATE users SET admin = $3 WHERE ushard = $1 AND user_id = $2`,
	Locked:    `UPDATE users SET locked = $3 WHERE ushard = $1 AND user_id = $2`,
	Suspended: `UPDATE users SET suspended = $3 WHERE ushard = $1 AND user_id = $2`,
	Shadowed:  `UPDATE users SET shadow_banned = $3 WHERE ushard = $1 AND user_id = $2`,
}

func writeLimit(tx *store.Tx, user matrix.UserID, l Limit) (bool, error) {
	n, err := tx.Exec(`UPDATE users SET limit_rate = $3, limit_burst = $4 WHERE ushard = $1 AND user_id = $2`,
		user.Shard(), string(user), l.Rate, l.Burst)
	return n == 1, err
}

func writeFlag(tx *store.Tx, user matrix.UserID, f Flag, on bool) (bool, error) {
	statement, found := flagStatements[f]
	if !found {
		return false, fmt.Errorf("accounts have no flag %q", f)
	}
	n, err := tx.Exec(statement, user.Shard(), string(user), flag(on))
	return n == 1, err
}

// flag is how the database has a truth value.
func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}
