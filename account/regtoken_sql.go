package account

import "astrocyte/store"

const registrationTokenColumns = `token, uses_allowed, uses_done, created_ts, expires_ts`

func scanRegistrationToken(r store.Row) (t RegistrationToken, err error) {
	err = r.Scan(&t.Token, &t.UsesAllowed, &t.UsesDone, &t.Created, &t.Expires)
	return t, err
}

func insertRegistrationToken(tx *store.Tx, t RegistrationToken) (bool, error) {
	n, err := tx.Exec(`INSERT INTO registration_tokens (token, uses_allowed, created_ts, expires_ts)
		VALUES ($1, $2, $3, $4) ON CONFLICT (token) DO NOTHING`, t.Token, t.UsesAllowed, t.Created, t.Expires)
	return n == 1, err
}

func readRegistrationToken(tx *store.Tx, token string) (RegistrationToken, bool, error) {
	return store.One(tx, scanRegistrationToken, `SELECT `+registrationTokenColumns+` FROM registration_tokens WHERE token = $1`, token)
}

func readRegistrationTokens(tx *store.Tx) ([]RegistrationToken, error) {
	return store.Select(tx, scanRegistrationToken, `SELECT `+registrationTokenColumns+` FROM registration_tokens ORDER BY created_ts, token`)
}

func deleteRegistrationToken(tx *store.Tx, token string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM registration_tokens WHERE token = $1`, token)
	return n == 1, err
}

func writeRegistrationToken(tx *store.Tx, t RegistrationToken) error {
	_, err := tx.Exec(`UPDATE registration_tokens SET uses_allowed = $2, expires_ts = $3 WHERE token = $1`,
		t.Token, t.UsesAllowed, t.Expires)
	return err
}

func useRegistrationToken(tx *store.Tx, token string, now int64) (bool, error) {
	n, err := tx.Exec(`UPDATE registration_tokens SET uses_done = uses_done + 1 WHERE token = $1
		AND (uses_allowed < 0 OR uses_done < uses_allowed) AND (expires_ts = 0 OR expires_ts > $2)`, token, now)
	return n == 1, err
}

// spendNonce marks a nonce; false where it was.
func spendNonce(tx *store.Tx, nonce string, expires int64) (bool, error) {
	n, err := tx.Exec(`INSERT INTO uia_sessions (session_id, endpoint, body_hash, expires_ts) VALUES ($1, $2, $3, $4)
		ON CONFLICT (session_id) DO NOTHING`, nonce, nonceEndpoint, []byte{}, expires)
	return n == 1, err
}
