package e2ee

import "astrocyte/store"

func hasEpoch(tx *store.Tx, epoch string) (bool, error) {
	_, found, err := store.One(tx, scanText, `SELECT epoch FROM key_epochs WHERE epoch = $1`, epoch)
	return found, err
}

// writeEpoch stores a mark, and forgets those that are older than kept.
func writeEpoch(tx *store.Tx, epoch string, now, kept int64) error {
	if _, err := tx.Exec(`DELETE FROM key_epochs WHERE ts < $1`, now-kept); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO key_epochs (epoch, ts) VALUES ($1, $2)`, epoch, now)
	return err
}

func deleteAllOneTimeKeys(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM one_time_keys`)
	return err
}

// changeAllLists notes that the devices of all users with keys changed.
func changeAllLists(tx *store.Tx, pos int64) error {
	for _, query := range []string{`
		INSERT INTO device_lists (ushard, user_id, pos)
		SELECT DISTINCT ushard, user_id, CAST($1 AS {INT8}) FROM device_keys WHERE 1 = 1
		ON CONFLICT (ushard, user_id) DO UPDATE SET pos = excluded.pos`, `
		INSERT INTO key_news (ushard, user_id, pos)
		SELECT DISTINCT ushard, user_id, CAST($1 AS {INT8}) FROM device_keys WHERE 1 = 1
		ON CONFLICT (ushard, user_id) DO UPDATE SET pos = excluded.pos`,
	} {
		if _, err := tx.Exec(query, pos); err != nil {
			return err
		}
	}
	return nil
}
