package account

import (
	"context"

	"astrocyte/store"
)

// UserQuery asks for accounts, as administrators look for them.
type UserQuery struct {
	Search      string // a part of the user id; empty: all
	Deactivated bool   // those that are deactivated as well
	Guests      *bool  // guests alone, or none of them
	Admins      *bool
	Locked      *bool
	ByCreation  bool // in the order in which they were made, not of their ids
	Backward    bool
	Skip        int64
	Limit       int
}

// FindUsers lists the accounts that are asked for, and counts them all.
func (a *Accounts) FindUsers(ctx context.Context, q UserQuery) (users []User, total int64, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		users, total, err = findUsers(tx, q)
		return err
	})
	return users, total, err
}
