package account

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Ignored reads whom a user ignores.
func (a *Accounts) Ignored(ctx context.Context, user matrix.UserID) (ignored map[matrix.UserID]bool, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		ignored, err = ReadIgnored(tx, user)
		return err
	})
	return ignored, err
}

// ReadIgnored reads whom a user ignores; themself they never do. A list that is not of its form ignores
// nobody: it is the user's own.
//
// Spec: CS "Ignoring Users".
func ReadIgnored(tx *store.Tx, user matrix.UserID) (map[matrix.UserID]bool, error) {
	raw, found, err := ReadAccountData(tx, user, "", "m.ignored_user_list")
	if err != nil {
		return nil, fmt.Errorf("read whom %s ignores: %w", user, err)
	}
	if !found {
		return nil, nil
	}
	var list struct {
		Users map[matrix.UserID]json.RawMessage `json:"ignored_users"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil, nil
	}
	delete(list.Users, user)
	ignored := make(map[matrix.UserID]bool, len(list.Users))
	for u := range list.Users {
		ignored[u] = true
	}
	return ignored, nil
}
