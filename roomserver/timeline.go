package roomserver

import (
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Item is a place in a room's timeline.
type Item struct {
	Seq  int64
	Pos  int64 // 0: history, which is news to nobody
	NID  int64 // of the event
	Snap int64 // the room's current state once the event was there
}

// Newest reads the newest limit places of a room's timeline, oldest first.
func (r *Rooms) Newest(tx *store.Tx, room RoomNID, limit int) ([]Item, error) {
	items, err := itemsBefore(tx, room, maxSeq, limit)
	slices.Reverse(items)
	return items, err
}

// maxSeq is beyond every place.
const maxSeq = 1 << 62

// Since reads what came into a room's timeline after a position, oldest first: at most the newest
// limit places. limited says that there are more of them, or that the DAG has a gap among them.
func (r *Rooms) Since(tx *store.Tx, room RoomNID, pos int64, limit int) (items []Item, limited bool, err error) {
	items, err = itemsBefore(tx, room, maxSeq, limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("read the timeline: %w", err)
	}
	for i, it := range items {
		if it.Pos <= pos { // of before, or history that came later
			items, limited = items[:i], it.Pos == 0
			break
		}
	}
	if len(items) > limit {
		items, limited = items[:limit], true
	}
	slices.Reverse(items)
	if len(items) == 0 {
		return items, limited, nil
	}
	gap, found, err := newestGap(tx, room, items[0].Seq-1)
	if err != nil {
		return nil, false, fmt.Errorf("look for gaps: %w", err)
	}
	if found {
		i := slices.IndexFunc(items, func(it Item) bool { return it.Seq >= gap })
		items, limited = items[i:], true
	}
	return items, limited, nil
}

// Before reads up to limit places before seq, newest first.
func (r *Rooms) Before(tx *store.Tx, room RoomNID, seq int64, limit int) ([]Item, error) {
	return itemsBefore(tx, room, seq, limit)
}

// After reads up to limit places after seq, oldest first.
func (r *Rooms) After(tx *store.Tx, room RoomNID, seq int64, limit int) ([]Item, error) {
	return itemsAfter(tx, room, seq, limit)
}

// At finds the newest place of a room at a position of the stream; false: the room was not there yet.
// Positions rise with seq, but for history, which has none: so the place is sought from the head
// downwards in growing steps, then by halves, without an index of its own.
func (r *Rooms) At(tx *store.Tx, room RoomNID, pos int64) (best Item, ok bool, err error) {
	it, found, err := itemUpTo(tx, room, maxSeq)
	if err != nil || !found || it.Pos <= pos {
		return it, found, err
	}
	low, high := it.Seq, it.Seq // the place is below high, where it is later than pos
	for step := int64(1); found && it.Pos > pos; step *= 2 {
		high, low = it.Seq, it.Seq-step
		if it, found, err = itemUpTo(tx, room, low); err != nil {
			return it, false, err
		}
	}
	best, ok = it, found
	for high-low > 1 {
		mid := low + (high-low)/2
		if it, found, err = itemUpTo(tx, room, mid); err != nil {
			return it, false, err
		}
		switch {
		case !found:
			low = mid
		case it.Pos > pos:
			high = it.Seq
		default:
			best, ok, low = it, true, mid
		}
	}
	return best, ok, nil
}

// Place finds the place of an event in its room's timeline; false: it has none.
func (r *Rooms) Place(tx *store.Tx, room RoomNID, event matrix.EventID) (Item, bool, error) {
	nid, in, ok, err := eventNID(tx, event)
	if err != nil || !ok || in != room {
		return Item{}, false, err
	}
	return itemOf(tx, nid)
}

// State reads the state of a snapshot; 0 is the empty state.
func (r *Rooms) State(tx *store.Tx, snap int64) (*state.State, error) { return r.states.Load(tx, snap) }

// StateEvent finds the event that holds a (type, state key) in a state, nil if none does.
func (r *Rooms) StateEvent(tx *store.Tx, st *state.State, tp, key string) (*Event, error) {
	tuple, ok, err := r.states.Tuple(tx, rules.StateKey{Type: tp, Key: key})
	if err != nil || !ok {
		return nil, err
	}
	nid, ok := st.Event(tuple)
	if !ok {
		return nil, nil
	}
	return r.event(tx, nid)
}

// StateKeys tells which (type, state key) each tuple stands for.
func (r *Rooms) StateKeys(tx *store.Tx, tuples []int64) (map[int64]rules.StateKey, error) {
	return r.states.Keys(tx, tuples)
}

// Tuple finds the interned number of a (type, state key); false: no event ever had it.
func (r *Rooms) Tuple(tx *store.Tx, tp, key string) (int64, bool, error) {
	return r.states.Tuple(tx, rules.StateKey{Type: tp, Key: key})
}
