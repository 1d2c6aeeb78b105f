package account

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/store"
)

// UserQuery asks for accounts, as administrators look for them.
type UserQuery struct {
	Search      string // a part of the user id; empty: all
	Deactivated *bool  // those that are deactivated alone, or none of them
	Guests      *bool  // guests alone, or none of them
	Admins      *bool
	Locked      *bool
	Order       string // one of the words of Synapse's admin API; empty: name
	Backward    bool
	Skip        int64
	Limit       int
}

// FindUsers lists the accounts that are asked for, and counts them all.
func (a *Accounts) FindUsers(ctx context.Context, q UserQuery) (users []User, total int64, err error) {
	if _, known := userOrders[q.Order]; !known {
		return nil, 0, matrix.InvalidParam("accounts cannot be ordered by %.50q", q.Order)
	}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		users, total, err = findUsers(tx, q)
		return err
	})
	return users, total, err
}
