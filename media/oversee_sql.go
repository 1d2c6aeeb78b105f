package media

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// filesOf lists a user's files, the newest first, and counts them all.
func filesOf(tx *store.Tx, user matrix.UserID, skip int64, limit int) (files []*File, total int64, err error) {
	total, _, err = store.One(tx, scanInt, `SELECT COUNT(*) FROM media WHERE user_id = $1`, string(user))
	if err != nil {
		return nil, 0, err
	}
	files, err = store.Select(tx, scanMedia, `
		SELECT `+mediaColumns+` FROM media WHERE user_id = $1 ORDER BY created DESC, media_id LIMIT $2 OFFSET $3`, string(user), int64(limit), skip)
	return files, total, err
}

// usageOrders are the orders in which users can be listed by what they have uploaded.
var usageOrders = map[string]string{"": "user_id", "user_id": "user_id", "media_count": "files", "media_length": "bytes"}

// usages lists what users have uploaded, and counts the users.
func usages(tx *store.Tx, q UsageQuery) (list []UserUsage, total int64, err error) {
	total, _, err = store.One(tx, scanInt, `SELECT COUNT(*) FROM media_usage WHERE user_id <> '' AND files > 0`)
	if err != nil {
		return nil, 0, err
	}
	order := usageOrders[q.Order]
	if q.Backward {
		order += " DESC"
	}
	list, err = store.Select(tx, func(row store.Row) (u UserUsage, err error) { return u, row.Scan(&u.User, &u.Files, &u.Bytes) }, fmt.Sprintf(`
		SELECT user_id, files, bytes FROM media_usage WHERE user_id <> '' AND files > 0 ORDER BY %s, user_id LIMIT $1 OFFSET $2`, order), int64(q.Limit), q.Skip)
	return list, total, err
}
