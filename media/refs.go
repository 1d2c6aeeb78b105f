package media

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Refer notes that an event shows files. What is noted twice is noted once.
func (r *Repository) Refer(tx *store.Tx, event int64, ids []ID) error {
	if err := insertRefs(tx, event, ids); err != nil {
		return fmt.Errorf("note the files of an event: %w", err)
	}
	return nil
}

// Withdraw notes that an event of a sender shows nothing any more, and deletes the files that no event shows
// now: those that the sender has brought. Files of others stay, or anybody could delete them by showing them.
// used says whether something other than an event shows a file.
func (r *Repository) Withdraw(tx *store.Tx, event int64, sender matrix.UserID, used func(id ID) (bool, error)) error {
	ids, err := refsOf(tx, event)
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := deleteRefs(tx, event); err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.withdraw(tx, id, sender, used); err != nil {
			return fmt.Errorf("withdraw %s: %w", id, err)
		}
	}
	tx.AfterCommit(r.wakeSweep)
	return nil
}

func (r *Repository) withdraw(tx *store.Tx, id ID, sender matrix.UserID, used func(id ID) (bool, error)) error {
	shown, err := hasRefs(tx, id)
	if err != nil || shown {
		return err
	}
	f, found, err := mediaOf(tx, id)
	if err != nil || !found || f.quarantined || !r.broughtBy(f, sender) {
		return err
	}
	if needed, err := used(id); err != nil || needed {
		return err
	}
	return r.remove(tx, f)
}

// broughtBy says whether a file came from a user. Of a file of another server it is only known from which.
func (r *Repository) broughtBy(f *File, user matrix.UserID) bool {
	if f.ID.Origin == r.server {
		return f.Uploader == user
	}
	return f.ID.Origin == user.Server()
}
