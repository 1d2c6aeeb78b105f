package policy

import (
	"strings"

	"astrocyte/store"
)

func insertReport(tx *store.Tx, r Report) error {
	_, err := tx.Exec(`INSERT INTO reports (report_id, reporter, room_id, event_id, user_id, reason, ts) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		r.ID, string(r.Reporter), string(r.Room), string(r.Event), string(r.User), []byte(r.Reason), r.At)
	return err
}

// subjects are the conditions of each subject.
var subjects = [...]string{OfEvents: `event_id <> ''`, OfRooms: `event_id = '' AND room_id <> ''`, OfUsers: `room_id = ''`}

const reportColumns = `report_id, reporter, room_id, event_id, user_id, reason, ts`

func scanReport(row store.Row) (Report, error) {
	var r Report
	var reason []byte
	err := row.Scan(&r.ID, &r.Reporter, &r.Room, &r.Event, &r.User, &reason, &r.At)
	r.Reason = string(reason)
	return r, err
}

// readReports lists the reports that a query asks for, and counts all that fit.
func readReports(tx *store.Tx, q ReportQuery) (list []Report, total int64, err error) {
	where := ` FROM reports WHERE ` + subjects[q.Of] +
		` AND reporter LIKE $1 ESCAPE '\' AND room_id LIKE $2 ESCAPE '\' AND user_id LIKE $3 ESCAPE '\'`
	parts := []any{containing(q.Reporter), containing(q.Room), containing(q.User)}
	total, _, err = store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) }, `SELECT COUNT(*)`+where, parts...)
	if err != nil {
		return nil, 0, err
	}
	order := ` ORDER BY report_id DESC`
	if q.Oldest {
		order = ` ORDER BY report_id`
	}
	list, err = store.Select(tx, scanReport, `SELECT `+reportColumns+where+order+` LIMIT $4 OFFSET $5`, append(parts, int64(q.Limit), q.Skip)...)
	return list, total, err
}

// containing is the pattern of texts that have a part.
func containing(part string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(part) + "%"
}

func readReport(tx *store.Tx, of Subject, id int64) (Report, bool, error) {
	return store.One(tx, scanReport, `SELECT `+reportColumns+` FROM reports WHERE report_id = $1 AND `+subjects[of], id)
}

// deleteReport deletes a report; false: there is none.
func deleteReport(tx *store.Tx, of Subject, id int64) (bool, error) {
	n, err := tx.Exec(`DELETE FROM reports WHERE report_id = $1 AND `+subjects[of], id)
	return n == 1, err
}
