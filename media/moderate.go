package media

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Delete removes a file for everybody. Its bytes go with it, unless another URI stands for the same.
func (r *Repository) Delete(ctx context.Context, id ID) error {
	err := r.db.Update(ctx, func(tx *store.Tx) error {
		f, found, err := mediaOf(tx, id)
		if err == nil && !found {
			err = errUnknown
		}
		if err != nil {
			return err
		}
		return r.remove(tx, f)
	})
	r.wakeSweep()
	return err
}

// DeleteOf removes all files of a user, and tells how many there were.
func (r *Repository) DeleteOf(ctx context.Context, user matrix.UserID) (n int, err error) {
	if user == "" {
		return 0, matrix.InvalidParam("whose files?")
	}
	err = r.removeAll(ctx, "user", func(tx *store.Tx) ([]*File, error) {
		files, err := mediaOfUser(tx, user, "", sweepBatch)
		tx.AfterCommit(func() { n += len(files) })
		return files, err
	})
	r.wakeSweep()
	return n, err
}

// Quarantine gives a file to nobody any more, or again. Its bytes stay, for who has to look at them.
func (r *Repository) Quarantine(ctx context.Context, id ID, on bool) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		found, err := quarantineMedia(tx, id, on)
		if err == nil && !found {
			err = errUnknown
		}
		return err
	})
}

// HashOf tells by which hash a file can be blocked.
func (r *Repository) HashOf(ctx context.Context, id ID) (Hash, error) {
	f, found, err := r.file(ctx, id)
	switch {
	case err != nil:
		return Hash{}, err
	case !found || !f.arrived:
		return Hash{}, errUnknown
	}
	return f.Hash, nil
}

// maxReason bounds why a file is blocked, in bytes.
const maxReason = 500

// Block lets nobody upload or get files of these bytes, whatever their URIs are.
func (r *Repository) Block(ctx context.Context, h Hash, reason string) error {
	if len(reason) > maxReason {
		return matrix.InvalidParam("the reason may have %d bytes at most", maxReason)
	}
	return r.db.Update(ctx, func(tx *store.Tx) error { return insertBlocked(tx, h, reason, r.millis()) })
}

// Unblock takes a block back.
func (r *Repository) Unblock(ctx context.Context, h Hash) error {
	return r.db.Update(ctx, func(tx *store.Tx) error { return deleteBlocked(tx, h) })
}
