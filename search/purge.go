package search

import (
	"fmt"

	"astrocyte/roomserver"
	"astrocyte/store"
)

// purged takes events out of the index that are removed for good, and names of users of other servers that were
// known by them: a hook for package roomserver.
func (s *Search) purged(tx *store.Tx, gone []roomserver.Purged) error {
	if _, err := lockRebuild(tx); err != nil {
		return err
	}
	nids := make([]int64, len(gone))
	for i, e := range gone {
		nids[i] = e.NID
		if e.Member == "" || s.ours(e.Member) {
			continue
		}
		if err := s.forgetName(tx, e.Member, e.Room); err != nil {
			return fmt.Errorf("forget the name of %s: %w", e.Member, err)
		}
	}
	if err := s.removeDocs(tx, nids); err != nil {
		return fmt.Errorf("remove purged events: %w", err)
	}
	return nil
}

// vanished forgets that the members of a room are known, and who may see them: a hook for package roomserver.
func (s *Search) vanished(tx *store.Tx, room roomserver.RoomNID) error {
	if _, err := lockRebuild(tx); err != nil {
		return err
	}
	return deleteRoom(tx, room)
}
