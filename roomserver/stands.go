package roomserver

import (
	"slices"

	"astrocyte/store"
)

// Stands says whether any of some events is of one of some types, and in the current state of its room.
func (r *Rooms) Stands(tx *store.Tx, nids []int64, types ...string) (bool, error) {
	events, err := r.Events(tx, nids)
	if err != nil {
		return false, err
	}
	for _, e := range events {
		if e.Tuple == 0 || !slices.Contains(types, e.Type()) {
			continue
		}
		heads, err := r.Heads(tx, []RoomNID{e.Room})
		if err != nil {
			return false, err
		}
		st, err := r.states.Load(tx, heads[e.Room].Snap)
		if err != nil {
			return false, err
		}
		if nid, ok := st.Event(e.Tuple); ok && nid == e.NID {
			return true, nil
		}
	}
	return false, nil
}
