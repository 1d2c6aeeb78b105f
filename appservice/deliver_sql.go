package appservice

import "astrocyte/store"

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
