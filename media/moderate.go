package media

import (
	"context"
	"fmt"

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

// PurgeRemote removes the files of other servers that nobody has asked for since a time, and tells how many there were.
// Who asks for one again has it fetched again.
func (r *Repository) PurgeRemote(ctx context.Context, before int64) (n int, err error) {
	err = r.removeAll(ctx, "remote", func(tx *store.Tx) ([]*File, error) {
		files, err := staleRemote(tx, r.server, before, sweepBatch)
		tx.AfterCommit(func() { n += len(files) })
		return files, err
	})
	r.wakeSweep()
	return n, err
}

// Quarantine gives a file to nobody any more, or again. Its bytes stay, for who has to look at them. A file that is
// protected is not put into quarantine.
func (r *Repository) Quarantine(ctx context.Context, id ID, on bool) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		f, found, err := mediaOf(tx, id)
		switch {
		case err != nil:
			return err
		case !found:
			return errUnknown
		case on && f.protected:
			return matrix.Forbidden("this file is protected from quarantine")
		}
		_, err = quarantineMedia(tx, id, on)
		return err
	})
}

// QuarantineOf gives the files that a user has uploaded to nobody any more, but for those that are protected, and tells
// how many these are.
func (r *Repository) QuarantineOf(ctx context.Context, user matrix.UserID) (n int64, err error) {
	if user == "" {
		return 0, matrix.InvalidParam("whose files?")
	}
	err = r.db.Update(ctx, func(tx *store.Tx) (err error) {
		n, err = quarantineOf(tx, user)
		return err
	})
	return n, err
}

// QuarantineShown gives the files that some events show to nobody any more, but for those that are protected, and tells
// how many these are.
func (r *Repository) QuarantineShown(tx *store.Tx, events []int64) (n int64, err error) {
	ids, err := r.ShownBy(tx, events)
	for _, id := range ids {
		fresh, err := quarantineUnprotected(tx, id)
		if err != nil {
			return 0, fmt.Errorf("quarantine %s: %w", id, err)
		}
		n += fresh
	}
	return n, err
}

// ShownBy lists the files that some events show, each once.
func (r *Repository) ShownBy(tx *store.Tx, events []int64) (ids []ID, err error) {
	refs, err := refsOf(tx, events)
	for i, ref := range refs { // those of a file are side by side
		if i == 0 || ref.id != refs[i-1].id {
			ids = append(ids, ref.id)
		}
	}
	return ids, err
}

// Protect keeps a file from being put into quarantine, or ends that.
func (r *Repository) Protect(ctx context.Context, id ID, on bool) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		found, err := protectMedia(tx, id, on)
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
