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

// Shown is an event of somebody that showed files.
type Shown struct {
	Event  int64
	Sender matrix.UserID
}

// Withdraw notes that events show nothing any more, and deletes the files that no event shows now: those that
// the sender has brought. Files of others stay, or anybody could delete them by showing them.
// used says whether something other than an event shows a file of a user.
func (r *Repository) Withdraw(tx *store.Tx, gone []Shown, used func(user matrix.UserID, id ID) (bool, error)) error {
	nids := make([]int64, len(gone))
	senders := make(map[int64]matrix.UserID, len(gone))
	for i, s := range gone {
		nids[i], senders[s.Event] = s.Event, s.Sender
	}
	refs, err := refsOf(tx, nids)
	if err != nil || len(refs) == 0 {
		return err
	}
	if err := deleteRefs(tx, nids); err != nil {
		return err
	}
	for _, ref := range refs {
		if err := r.withdraw(tx, ref.id, senders[ref.event], used); err != nil {
			return fmt.Errorf("withdraw %s: %w", ref.id, err)
		}
	}
	tx.AfterCommit(r.wakeSweep)
	return nil
}

func (r *Repository) withdraw(tx *store.Tx, id ID, sender matrix.UserID, used func(user matrix.UserID, id ID) (bool, error)) error {
	shown, err := hasRefs(tx, id)
	if err != nil || shown {
		return err
	}
	f, found, err := mediaOf(tx, id)
	if err != nil || !found || f.quarantined || !r.broughtBy(f, sender) {
		return err
	}
	if needed, err := used(sender, id); err != nil || needed {
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
