package push

import (
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Pushers reads the pushers of a user, the oldest first.
func Pushers(tx *store.Tx, user matrix.UserID) ([]Pusher, error) {
	return store.Select(tx, func(r store.Row) (Pusher, error) {
		p := Pusher{User: user}
		var raw []byte
		if err := r.Scan(&raw, &p.Device); err != nil {
			return p, err
		}
		if err := json.Unmarshal(raw, &p); err != nil {
			return p, fmt.Errorf("read a pusher of %s: %w", user, err)
		}
		return p, nil
	}, `SELECT pusher, device_id FROM pushers WHERE ushard = $1 AND user_id = $2 ORDER BY created, app_id, pushkey`,
		user.Shard(), string(user))
}

func writePusher(tx *store.Tx, p *Pusher, now int64) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write a pusher: %w", err)
	}
	_, err = tx.Exec(`
		INSERT INTO pushers (ushard, user_id, app_id, pushkey, device_id, kind, pusher, created, badge) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, -1)
		ON CONFLICT (ushard, user_id, app_id, pushkey) DO UPDATE
		SET device_id = excluded.device_id, kind = excluded.kind, pusher = excluded.pusher`,
		p.User.Shard(), string(p.User), p.AppID, p.Pushkey, string(p.Device), p.Kind, raw, now)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO pusher_users (app_id, pushkey, user_id) VALUES ($1, $2, $3)
		ON CONFLICT (app_id, pushkey, user_id) DO NOTHING`, p.AppID, p.Pushkey, string(p.User))
	return err
}

func deletePusher(tx *store.Tx, user matrix.UserID, app, key string) error {
	_, err := tx.Exec(`DELETE FROM pushers WHERE ushard = $1 AND user_id = $2 AND app_id = $3 AND pushkey = $4`,
		user.Shard(), string(user), app, key)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM push_queue WHERE ushard = $1 AND user_id = $2 AND app_id = $3 AND pushkey = $4`,
		user.Shard(), string(user), app, key)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM pusher_users WHERE app_id = $1 AND pushkey = $2 AND user_id = $3`, app, key, string(user))
	return err
}

func deletePushersOfOthers(tx *store.Tx, p *Pusher) error {
	users, err := store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) },
		`SELECT user_id FROM pusher_users WHERE app_id = $1 AND pushkey = $2`, p.AppID, p.Pushkey)
	if err != nil {
		return err
	}
	for _, user := range users {
		if user != p.User {
			if err := deletePusher(tx, user, p.AppID, p.Pushkey); err != nil {
				return err
			}
		}
	}
	return nil
}

func deletePushers(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	list, err := Pushers(tx, user)
	if err != nil {
		return err
	}
	for _, p := range list {
		if slices.Contains(devices, p.Device) {
			if err := deletePusher(tx, user, p.AppID, p.Pushkey); err != nil {
				return err
			}
		}
	}
	return nil
}
