package syncapi

import (
	"slices"
	"sync"

	"astrocyte/store"
)

const (
	// tailMost bounds the rooms, or users, whose newest positions are kept in memory.
	tailMost = 200_000
	// fillMost bounds how far behind a tail may be to be filled.
	fillMost = 100_000
)

// A tail knows where things of a kind (rooms, users) changed last. It is complete between floor and
// filled, since it is filled from the database itself, in the transactions of readers, and not from hints.
// One reader fills it for all.
type tail[K comparable] struct {
	// read tells what changed between two positions, and where each thing did last.
	read func(tx *store.Tx, after, upto int64) ([]move[K], error)

	filling sync.Mutex // held while the database is read; taken before mu

	mu     sync.Mutex
	pos    map[K]int64
	floor  int64 // what changed after it is here
	filled int64 // up to where the database was read
	ready  bool
	last   int64 // the newest position of all

	hinted map[K]int64 // what hints said
	heard  int64       // hints of what came after it are here
}

// move says where a thing changed.
type move[K comparable] struct {
	what K
	pos  int64
}

func newTail[K comparable](read func(tx *store.Tx, after, upto int64) ([]move[K], error)) *tail[K] {
	return &tail[K]{read: read, pos: make(map[K]int64), hinted: make(map[K]int64)}
}

// note takes a hint that something changed.
func (t *tail[K]) note(what K, pos int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.hinted) >= tailMost {
		clear(t.hinted)
		t.heard = max(t.filled, pos)
	}
	t.hinted[what] = max(t.hinted[what], pos)
}

// perhaps says whether a thing may have changed after a position, by what was read and by hints.
func (t *tail[K]) perhaps(what K, pos int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pos[what] > pos || pos < t.floor || t.hinted[what] > pos || pos < t.heard
}

// changed says whether a thing changed after a position, for a transaction that has filled the tail.
// Where that is not known any more it says so.
func (t *tail[K]) changed(what K, since int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return since < t.floor || t.pos[what] > since
}

// anyChanged says whether anything changed after a position, as changed does of one thing.
func (t *tail[K]) anyChanged(since int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return since < t.floor || t.last > since
}

// upto is the position up to which the tail is filled.
func (t *tail[K]) upto() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.filled
}

// newest gives a position since which a thing did not change, for a transaction that has filled the tail up
// to its own position: that of its last change, or of what the tail does not reach back beyond. false: it
// changed since the transaction.
func (t *tail[K]) newest(what K, upto int64) (int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pos := max(t.pos[what], t.floor)
	return pos, t.ready && pos <= upto
}

// fill reads what the tail does not know yet up to upto, the position of the transaction. It gives what
// changed of which no hint had come.
func (t *tail[K]) fill(tx *store.Tx, upto int64) ([]K, error) {
	t.mu.Lock()
	done := t.ready && upto <= t.filled
	t.mu.Unlock()
	if done {
		return nil, nil
	}
	if err := tx.Begin(); err != nil { // nobody waits for a connection who has the lock
		return nil, err
	}
	t.filling.Lock()
	defer t.filling.Unlock()
	t.mu.Lock()
	from, ready := t.filled, t.ready
	t.mu.Unlock()
	switch {
	case ready && upto <= from:
		return nil, nil
	case !ready || upto-from > fillMost:
		t.restart(upto)
		return nil, nil
	}
	moves, err := t.read(tx, from, upto)
	if err != nil {
		return nil, err
	}
	return t.take(moves, upto), nil
}

func (t *tail[K]) take(moves []move[K], upto int64) []K {
	t.mu.Lock()
	defer t.mu.Unlock()
	var unheard []K
	for _, m := range moves {
		t.pos[m.what] = max(t.pos[m.what], m.pos)
		t.last = max(t.last, m.pos)
		if m.pos > t.hinted[m.what] && m.pos > t.heard {
			unheard = append(unheard, m.what)
		}
	}
	t.filled = upto
	if len(t.pos) > tailMost {
		t.forgetHalf()
	}
	return unheard
}

// restart begins anew: nothing is known of what was before.
func (t *tail[K]) restart(upto int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.pos)
	t.floor, t.filled, t.ready = upto, upto, true
}

// forgetHalf drops what changed longest ago. The lock is held.
func (t *tail[K]) forgetHalf() {
	all := make([]int64, 0, len(t.pos))
	for _, pos := range t.pos {
		all = append(all, pos)
	}
	slices.Sort(all)
	floor := min(all[len(all)/2], t.filled)
	for what, pos := range t.pos {
		if pos <= floor {
			delete(t.pos, what)
		}
	}
	t.floor = max(t.floor, floor)
}

// since gives those of a list that changed after a position; false where the tail does not reach back so
// far.
func since[K comparable, E any](t *tail[K], list []E, key func(E) K, pos int64) ([]E, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if pos < t.floor {
		return nil, false
	}
	var out []E
	for _, e := range list {
		if t.pos[key(e)] > pos {
			out = append(out, e)
		}
	}
	return out, true
}
