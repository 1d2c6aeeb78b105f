package e2ee

import (
	"errors"

	"astrocyte/matrix"
	"astrocyte/store"
)

// readEpoch reads what is known of a mark.
func readEpoch(tx *store.Tx, mark string) (record, bool, error) {
	return store.One(tx, func(r store.Row) (k record, err error) { return k, r.Scan(&k.given, &k.place) },
		`SELECT given, place FROM key_epochs WHERE epoch = $1`, mark)
}

// writeEpoch stores a mark, and forgets those that are older than kept.
func writeEpoch(tx *store.Tx, mark, place string, now, kept int64) error {
	if _, err := tx.Exec(`DELETE FROM key_epochs WHERE ts < $1`, now-kept); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO key_epochs (epoch, ts, given, place) VALUES ($1, $2, 0, $3)`, mark, now, place)
	return err
}

// noteGiven notes where a one-time key was given out last. A node that lives must not forget its mark.
func noteGiven(tx *store.Tx, mark string, pos, now int64) error {
	n, err := tx.Exec(`UPDATE key_epochs SET given = $2, ts = $3 WHERE epoch = $1`, mark, pos, now)
	if err == nil && n != 1 {
		err = errNoMark
	}
	return err
}

var errNoMark = errors.New("the mark of this node is not in the database: was that replaced while the server ran?")

// readAllKept reads whose lists are kept, of all shards: it is for a restored database.
func readAllKept(tx *store.Tx) ([]matrix.UserID, error) {
	return store.Select(tx, scanUser, `SELECT user_id FROM remote_lists ORDER BY user_id`)
}

// readAllDevices reads the devices that have keys, as readAllKept does.
func readAllDevices(tx *store.Tx) (map[matrix.UserID][]matrix.DeviceID, error) {
	all := make(map[matrix.UserID][]matrix.DeviceID)
	err := store.Each(tx, func(r store.Row) error {
		var d deviceID
		err := r.Scan(&d.user, &d.device)
		all[d.user] = append(all[d.user], d.device)
		return err
	}, `SELECT user_id, device_id FROM device_keys`)
	return all, err
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
