package state

import (
	"context"
	"errors"
	"fmt"

	"astrocyte/lru"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// States reads and writes the states of all rooms, through caches of a bounded size.
type States struct {
	db     *store.DB
	layers *lru.Cache[int64, *layer]
	tuples *lru.Cache[rules.StateKey, int64]
	keys   *lru.Cache[int64, rules.StateKey]
}

// New makes the reader and writer of states. Its caches hold up to memory bytes.
func New(db *store.DB, memory int64) *States {
	return &States{
		db:     db,
		layers: lru.New[int64, *layer](memory * 3 / 4),
		tuples: lru.New[rules.StateKey, int64](memory / 8),
		keys:   lru.New[int64, rules.StateKey](memory / 8),
	}
}

// Load reads the state of a snapshot, in at most four rows; 0 is the empty state.
func (s *States) Load(tx *store.Tx, snap int64) (*State, error) {
	if snap == 0 {
		return nil, nil
	}
	st := &State{}
	for nid := snap; nid != 0; {
		l, ok := s.layers.Get(nid)
		if !ok {
			var err error
			if l, err = readLayer(tx, nid); err != nil {
				return nil, fmt.Errorf("load state snapshot %d: %w", snap, err)
			}
			s.keep(l)
		}
		st.layers = append(st.layers, l)
		nid = l.anchor
	}
	return st, nil
}

// Next makes the state that follows from st by changes, sorted by tuple, in the room whose nid is
// given. Without changes it is st. What it made must be inserted before the transaction ends.
func (s *States) Next(ctx context.Context, room int64, st *State, changes []Entry) (*State, error) {
	if len(changes) == 0 {
		return st, nil
	}
	n, err := s.db.Nids(ctx, "snapshots", 1)
	if err != nil {
		return nil, fmt.Errorf("name a state snapshot: %w", err)
	}
	next := st.apply(changes, n<<8|room&0xff)
	// Kept before the commit: should it fail, nothing refers to the nid, which is not given out again.
	s.keep(next.layers[0])
	return next, nil
}

func (s *States) keep(l *layer) {
	s.layers.Put(l.nid, l, int64(16*len(l.delta))+160)
}

// Tuple finds the nid of a (type, state key), if any event ever had it.
func (s *States) Tuple(tx *store.Tx, key rules.StateKey) (tuple int64, ok bool, err error) {
	if tuple, ok := s.tuples.Get(key); ok {
		return tuple, true, nil
	}
	tuple, ok, err = readTuple(tx, key)
	if err != nil {
		return 0, false, fmt.Errorf("find the tuple of %s: %w", key.Type, err)
	}
	if ok {
		s.know(tx, key, tuple)
	}
	return tuple, ok, nil
}

// Intern finds the nid of a (type, state key), or gives it one.
func (s *States) Intern(ctx context.Context, tx *store.Tx, key rules.StateKey) (int64, error) {
	tuple, ok, err := s.Tuple(tx, key)
	if ok || err != nil {
		return tuple, err
	}
	nid, err := s.db.Nids(ctx, "tuples", 1)
	if err == nil {
		if key.Type == memberType {
			nid |= memberBit
		}
		tuple, err = insertTuple(tx, key, nid)
	}
	if err != nil {
		return 0, fmt.Errorf("intern the tuple of %s: %w", key.Type, err)
	}
	s.know(tx, key, tuple)
	return tuple, nil
}

// InternAll finds the nids of many, or gives them some.
func (s *States) InternAll(ctx context.Context, tx *store.Tx, keys []rules.StateKey) (map[rules.StateKey]int64, error) {
	out := make(map[rules.StateKey]int64, len(keys))
	missing := make(map[string][]string) // state keys by type
	for _, key := range keys {
		if _, seen := out[key]; seen {
			continue
		}
		tuple, ok := s.tuples.Get(key)
		if out[key] = tuple; !ok {
			missing[key.Type] = append(missing[key.Type], key.Key)
		}
	}
	for tp, some := range missing {
		if err := s.internMissing(ctx, tx, tp, some, out); err != nil {
			return nil, fmt.Errorf("intern %d tuples of %s: %w", len(some), tp, err)
		}
		for _, key := range some {
			k := rules.StateKey{Type: tp, Key: key}
			s.know(tx, k, out[k])
		}
	}
	return out, nil
}

// internMissing notes the nids of the tuples of a type in out, and makes those that there are none of. What another
// node makes at the same time is found by reading once more.
func (s *States) internMissing(ctx context.Context, tx *store.Tx, tp string, keys []string, out map[rules.StateKey]int64) error {
	for range 3 {
		left, err := readTuples(tx, tp, keys, out)
		if err != nil || len(left) == 0 {
			return err
		}
		first, err := s.db.Nids(ctx, "tuples", len(left))
		if err != nil {
			return err
		}
		fresh := make([]int64, len(left))
		for i := range left {
			if fresh[i] = first + int64(i); tp == memberType {
				fresh[i] |= memberBit
			}
		}
		made, err := insertTuples(tx, tp, left, fresh)
		if err != nil {
			return err
		}
		if keys = left; made == int64(len(left)) {
			for i, key := range left {
				out[rules.StateKey{Type: tp, Key: key}] = fresh[i]
			}
			return nil
		}
	}
	return errors.New("they come and go")
}

// Keys tells which (type, state key) each tuple stands for.
func (s *States) Keys(tx *store.Tx, tuples []int64) (map[int64]rules.StateKey, error) {
	out := make(map[int64]rules.StateKey, len(tuples))
	var missing []int64
	for _, t := range tuples {
		if key, ok := s.keys.Get(t); ok {
			out[t] = key
		} else {
			missing = append(missing, t)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	read, err := readKeys(tx, missing)
	if err != nil {
		return nil, fmt.Errorf("read %d tuples: %w", len(missing), err)
	}
	for t, key := range read {
		out[t] = key
		s.know(tx, key, t)
	}
	return out, nil
}

// know keeps a tuple once it is sure to stay, that is, after the commit.
func (s *States) know(tx *store.Tx, key rules.StateKey, tuple int64) {
	tx.AfterCommit(func() {
		cost := int64(len(key.Type)+len(key.Key)) + 120
		s.tuples.Put(key, tuple, cost)
		s.keys.Put(tuple, key, cost)
	})
}
