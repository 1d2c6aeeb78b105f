package appservice

import (
	"encoding/json"

	"astrocyte/store"
)

func readProgress(tx *store.Tx, service string) (progress, error) {
	p, _, err := store.One(tx, func(r store.Row) (p progress, err error) { return p, r.Scan(&p.sent, &p.pending) },
		`SELECT sent_pos, pending_pos FROM appservice_progress WHERE service_id = $1`, service)
	return p, err
}

func writeProgress(tx *store.Tx, service string, p progress) error {
	_, err := tx.Exec(`INSERT INTO appservice_progress (service_id, sent_pos, pending_pos) VALUES ($1, $2, $3)
		ON CONFLICT (service_id) DO UPDATE SET sent_pos = $2, pending_pos = $3`, service, p.sent, p.pending)
	return err
}

// keepOutside keeps what a service is to be told at a position.
func keepOutside(tx *store.Tx, service string, pos int64, event []byte) error {
	_, err := tx.Exec(`INSERT INTO appservice_outside (service_id, pos, event) VALUES ($1, $2, $3)`, service, pos, event)
	return err
}

// outsideAfter reads positions behind one at which a service is to be told something.
func outsideAfter(tx *store.Tx, service string, pos int64, limit int) ([]int64, error) {
	return store.Select(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT pos FROM appservice_outside WHERE service_id = $1 AND pos > $2 ORDER BY pos LIMIT $3`, service, pos, int64(limit))
}

// readOutside reads what a service is to be told from one position to another.
func readOutside(tx *store.Tx, service string, from, upto int64) ([]told, error) {
	return store.Select(tx, func(r store.Row) (told, error) {
		var t told
		var event []byte
		err := r.Scan(&t.pos, &event)
		t.event = json.RawMessage(event)
		return t, err
	}, `SELECT pos, event FROM appservice_outside WHERE service_id = $1 AND pos >= $2 AND pos <= $3 ORDER BY pos`, service, from, upto)
}

// forgetOutside forgets what a service has been told.
func forgetOutside(tx *store.Tx, service string, upto int64) error {
	_, err := tx.Exec(`DELETE FROM appservice_outside WHERE service_id = $1 AND pos <= $2`, service, upto)
	return err
}
