package policy

import (
	"math"

	"astrocyte/store"
)

func insertReport(tx *store.Tx, r Report) error {
	_, err := tx.Exec(`INSERT INTO reports (report_id, reporter, room_id, event_id, user_id, reason, ts) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		r.ID, string(r.Reporter), string(r.Room), string(r.Event), string(r.User), []byte(r.Reason), r.At)
	return err
}

func readReports(tx *store.Tx, before int64, limit int) ([]Report, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return store.Select(tx, func(row store.Row) (Report, error) {
		var r Report
		var reason []byte
		err := row.Scan(&r.ID, &r.Reporter, &r.Room, &r.Event, &r.User, &reason, &r.At)
		r.Reason = string(reason)
		return r, err
	}, `
		SELECT report_id, reporter, room_id, event_id, user_id, reason, ts FROM reports
		WHERE report_id < $1 ORDER BY report_id DESC LIMIT $2`, before, int64(limit))
}

func deleteReport(tx *store.Tx, id int64) error {
	_, err := tx.Exec(`DELETE FROM reports WHERE report_id = $1`, id)
	return err
}
