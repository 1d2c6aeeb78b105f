package account

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// tokenRow is a token with what matters of its user and device.
type tokenRow struct {
	User        matrix.UserID
	Device      matrix.DeviceID
	Pair, Prior string
	Expires     int64

	Kind                                  Kind
	Admin, Locked, Suspended, Deactivated bool
	Shadowed                              bool
	Limit                                 Limit
	Seen                                  int64

	created int64
}

func insertToken(tx *store.Tx, kind int64, key secret, row tokenRow) error {
	_, err := tx.Exec(`INSERT INTO tokens (ushard, hash, kind, user_id, device_id, pair, prior, created_ts, expires_ts)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		key.shard, key.hash[:], kind, string(row.User), string(row.Device), row.Pair, row.Prior, row.created, row.Expires)
	return err
}

func readToken(tx *store.Tx, kind int64, key secret) (tokenRow, bool, error) {
	return store.One(tx, scanToken, `
		SELECT t.user_id, t.device_id, t.pair, t.prior, t.expires_ts,
			u.kind, u.admin, u.locked, u.suspended, u.deactivated_ts, d.last_seen_ts, u.shadow_banned, u.limit_rate, u.limit_burst
		FROM tokens t
		JOIN users u ON u.ushard = t.ushard AND u.user_id = t.user_id
		JOIN devices d ON d.ushard = t.ushard AND d.user_id = t.user_id AND d.device_id = t.device_id
		WHERE t.ushard = $1 AND t.hash = $2 AND t.kind = $3`, key.shard, key.hash[:], kind)
}

func scanToken(r store.Row) (t tokenRow, err error) {
	var user, device string
	var kind, admin, locked, suspended, deactivated, shadowed int64
	err = r.Scan(&user, &device, &t.Pair, &t.Prior, &t.Expires, &kind, &admin, &locked, &suspended, &deactivated, &t.Seen,
		&shadowed, &t.Limit.Rate, &t.Limit.Burst)
	t.User, t.Device, t.Kind = matrix.UserID(user), matrix.DeviceID(device), Kind(kind)
	t.Admin, t.Locked, t.Suspended, t.Deactivated = admin != 0, locked != 0, suspended != 0, deactivated != 0
	t.Shadowed = shadowed != 0
	return t, err
}

func settlePair(tx *store.Tx, t tokenRow, now int64) error {
	shard, user, device := t.User.Shard(), string(t.User), string(t.Device)
	if _, err := tx.Exec(`DELETE FROM tokens WHERE ushard = $1 AND user_id = $2 AND device_id = $3
		AND pair <> $4 AND (kind = $6 OR pair <> $5)`, shard, user, device, t.Pair, t.Prior, kindRefresh); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE tokens SET expires_ts = $5 WHERE ushard = $1 AND user_id = $2 AND device_id = $3
		AND pair = $4 AND (expires_ts = 0 OR expires_ts > $5)`, shard, user, device, t.Prior, now); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE tokens SET prior = '' WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND pair = $4`,
		shard, user, device, t.Pair)
	return err
}

// pruneSuccessors keeps the newest pairs that wait to replace the pair of t.
func pruneSuccessors(tx *store.Tx, t tokenRow, keep int) error {
	_, err := tx.Exec(`DELETE FROM tokens WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND prior = $4
		AND pair NOT IN (
			SELECT pair FROM tokens WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND prior = $4 AND kind = $5
			ORDER BY created_ts DESC, pair LIMIT $6)`,
		t.User.Shard(), string(t.User), string(t.Device), t.Pair, kindRefresh, keep)
	return err
}

func deleteDeviceTokens(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) error {
	_, err := tx.Exec(`DELETE FROM tokens WHERE ushard = $1 AND user_id = $2 AND device_id = $3`,
		user.Shard(), string(user), string(device))
	return err
}
