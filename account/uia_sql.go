package account

import (
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

func writeUIA(tx *store.Tx, s *uiaSession, expires int64) error {
	_, err := tx.Exec(`INSERT INTO uia_sessions (session_id, endpoint, body_hash, user_id, completed, reg_token, expires_ts)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (session_id) DO UPDATE SET body_hash = excluded.body_hash, user_id = excluded.user_id,
			completed = excluded.completed, reg_token = excluded.reg_token`,
		s.id, s.endpoint, s.body[:], string(s.User), strings.Join(s.completed, " "), s.RegistrationToken, expires)
	return err
}

func readUIA(tx *store.Tx, id string, now int64) (*uiaSession, bool, error) {
	return store.One(tx, scanUIA, `SELECT session_id, endpoint, body_hash, user_id, completed, reg_token
		FROM uia_sessions WHERE session_id = $1 AND expires_ts > $2`, id, now)
}

func scanUIA(r store.Row) (*uiaSession, error) {
	s := new(uiaSession)
	var body []byte
	var user, completed string
	err := r.Scan(&s.id, &s.endpoint, &body, &user, &completed, &s.RegistrationToken)
	copy(s.body[:], body)
	s.User, s.completed = matrix.UserID(user), strings.Fields(completed)
	return s, err
}

func deleteUIA(tx *store.Tx, id string) error {
	_, err := tx.Exec(`DELETE FROM uia_sessions WHERE session_id = $1`, id)
	return err
}

func deleteExpiredUIA(tx *store.Tx, now int64) error {
	_, err := tx.Exec(`DELETE FROM uia_sessions WHERE expires_ts <= $1`, now)
	return err
}
