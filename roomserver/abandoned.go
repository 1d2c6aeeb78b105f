package roomserver

import (
	"context"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// JobAbandoned is the kind of jobs that remove what is left of an entry that was cut short. The key of each is the id of
// a room: while it is being entered, and from then on where it was not.
const JobAbandoned = "abandoned entry"

// entryKept is how long what was kept of a room waits for somebody to try again to enter it.
const entryKept = 24 * time.Hour

// ForgetEntry does a job of the kind JobAbandoned: a room that nobody of ours has ever come into is removed. Of one that
// this server has been in before, what is there stays: it may be of that time.
func (r *Rooms) ForgetEntry(ctx context.Context, j store.Job) error {
	id, abandoned := matrix.RoomID(j.Key), false
	err := r.db.Update(ctx, func(tx *store.Tx) error {
		abandoned = false
		nid, known, err := r.NID(tx, id)
		if err != nil || !known {
			return err
		}
		heads, err := readHeads(tx, []int64{int64(nid)}, true) // who begins to enter waits, and makes the room known anew
		if err != nil {
			return err
		}
		if abandoned = len(heads) == 0; abandoned { // a run before was cut short
			return nil
		}
		expected, err := expectedRooms(tx, []RoomNID{nid})
		switch {
		case err != nil || heads[0].seq != 0:
			return err
		case len(expected) > 0:
			return tx.Postpone(j, entryKept)
		}
		abandoned = true
		return r.vanish(tx, nid)
	})
	if err != nil {
		return fmt.Errorf("forget what was kept of room %s, which nobody has entered: %w", id, err)
	}
	for after := int64(0); abandoned; abandoned = after != 0 {
		if after, err = r.Purge(ctx, id, after); err != nil {
			return err
		}
	}
	return nil
}
