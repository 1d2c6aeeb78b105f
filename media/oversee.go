package media

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Overseen is a file as administrators see it, whether it is given to anybody or not.
type Overseen struct {
	*File
	Quarantined bool
	Protected   bool
	Accessed    int64 // milliseconds, to about a day
}

// FilesOf lists a user's files, the newest first, and counts them all.
func (r *Repository) FilesOf(ctx context.Context, user matrix.UserID, skip int64, limit int) (list []Overseen, total int64, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		list = nil
		files, n, err := filesOf(tx, user, skip, limit)
		for _, f := range files {
			list = append(list, Overseen{f, f.quarantined, f.protected, f.accessed})
		}
		total = n
		return err
	})
	return list, total, err
}

// Oversee shows a file, whether it is given to anybody or not.
func (r *Repository) Oversee(ctx context.Context, id ID) (o Overseen, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		f, found, err := mediaOf(tx, id)
		if err == nil && !found {
			err = errUnknown
		}
		if err == nil {
			o = Overseen{f, f.quarantined, f.protected, f.accessed}
		}
		return err
	})
	return o, err
}

// UserUsage is what a user has uploaded.
type UserUsage struct {
	User         matrix.UserID
	Files, Bytes int64
}

// UsageQuery asks for a part of what all users have uploaded.
type UsageQuery struct {
	Order    string // user_id, media_count or media_length; empty: user_id
	Backward bool
	Skip     int64
	Limit    int
}

// Usages lists what users have uploaded, and counts the users who have.
func (r *Repository) Usages(ctx context.Context, q UsageQuery) (list []UserUsage, total int64, err error) {
	if _, known := usageOrders[q.Order]; !known {
		return nil, 0, matrix.InvalidParam("order_by must be user_id, media_count or media_length")
	}
	err = r.db.View(ctx, func(tx *store.Tx) (err error) {
		list, total, err = usages(tx, q)
		return err
	})
	return list, total, err
}
