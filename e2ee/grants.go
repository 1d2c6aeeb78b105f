package e2ee

import (
	"context"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// grantTime is for how long a user may replace their cross-signing keys without a password.
const grantTime = 10 * time.Minute

// GrantReplacement lets a user who has cross-signing keys replace them once without confirming that it is them, and tells
// up to when: for those who have no password here, and were confirmed elsewhere.
func (e *Encryption) GrantReplacement(ctx context.Context, user matrix.UserID) (until int64, err error) {
	until = e.millis() + grantTime.Milliseconds()
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		if err := lockUser(tx, user); err != nil {
			return err
		}
		have, err := readCrossKeysOf(tx, user)
		if err != nil {
			return err
		}
		if have[master] == nil {
			return matrix.NotFound("%s has no cross-signing keys", user)
		}
		return writeGrant(tx, user, until)
	})
	if err != nil {
		return 0, fmt.Errorf("let %s replace their keys: %w", user, err)
	}
	return until, nil
}
