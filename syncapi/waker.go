package syncapi

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	// checkEvery is how often the database is looked at for what no hint came of.
	checkEvery = 3 * time.Second
	// gatherMost bounds the changes of the bus that are heeded at once.
	gatherMost = 256
	// watchIdle is how long the rooms of a user are kept whom nobody waits for.
	watchIdle = 10 * time.Minute
	// sweepEvery is how often idle watches are looked for.
	sweepEvery = time.Minute
)

// waker knows who waits for what, and wakes them. One mutex guards it; nothing is done under it but
// looking up and signalling.
type waker struct {
	db      *store.DB
	bus     bus.Bus
	log     *slog.Logger
	now     func() time.Time
	rooms   *tail[roomserver.RoomNID]
	users   *tail[matrix.UserID]
	circles *circles
	// warm reads what many will ask for who are about to be woken, so that they find it in memory.
	warm func(ctx context.Context, rooms []roomserver.RoomNID) error
	// members and lists wake nobody: what changes them is told as a change of rooms or users too.
	members *tail[roomserver.RoomNID] // where memberships began
	lists   *tail[matrix.UserID]      // whose devices changed

	mu        sync.Mutex
	watches   map[matrix.UserID]*watch
	audiences map[roomserver.RoomNID]*audience
	byID      map[matrix.RoomID]roomserver.RoomNID // of the rooms above: typing is told by room id
	turns     *turns
}

func newWaker(db *store.DB, b bus.Bus, log *slog.Logger, now func() time.Time) *waker {
	return &waker{
		db: db, bus: b, log: log, now: now, rooms: newTail(readRoomMoves), users: newTail(readUserMoves),
		members: newTail(readMemberMoves), lists: newTail(readListMoves),
		watches:   make(map[matrix.UserID]*watch),
		audiences: make(map[roomserver.RoomNID]*audience),
		byID:      make(map[matrix.RoomID]roomserver.RoomNID),
		turns:     newTurns(0),
	}
}

// waiter is one poll or socket that waits for news of its user.
type waiter struct {
	waker *waker
	watch *watch
	woken chan struct{} // holds one signal
	wake  func()        // nil: woken is signalled

	doubted atomic.Bool // access tokens of the user have changed
}

// listen registers a waiter. What is committed from now on signals it.
func (k *waker) listen(user matrix.UserID) *waiter {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.watches[user]
	if w == nil {
		w = &watch{user: user}
		k.watches[user] = w
	}
	it := &waiter{waker: k, watch: w, woken: make(chan struct{}, 1)}
	w.waiters = append(w.waiters, it)
	waiting.Inc()
	return it
}

// stop ends the waiting.
func (w *waiter) stop() {
	k := w.waker
	k.mu.Lock()
	defer k.mu.Unlock()
	w.watch.waiters = slices.DeleteFunc(w.watch.waiters, func(o *waiter) bool { return o == w })
	if len(w.watch.waiters) == 0 {
		w.watch.idle = k.now()
	}
	waiting.Dec()
}

// hand has fn called from now on where a waiter would be woken, and now if it is already. fn does not block.
func (w *waiter) hand(fn func()) {
	w.waker.mu.Lock()
	defer w.waker.mu.Unlock()
	w.wake = fn
	select {
	case <-w.woken:
		fn()
	default:
	}
}

// signal wakes the waiter; it sleeps on where a signal is pending already. The waker's lock is held.
func (w *waiter) signal() {
	if w.wake != nil {
		w.wake()
		return
	}
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

func (w *watch) signal() {
	for _, it := range w.waiters {
		it.signal()
	}
}

// Run hands the hints of the bus on to the waiters, and looks for those that were lost.
func (k *waker) Run(ctx context.Context) error {
	sub := k.bus.Subscribe(bus.Room, bus.User, bus.Typing, bus.Presence, account.TokensChanged)
	defer sub.Close()
	check, sweep := time.NewTicker(checkEvery), time.NewTicker(sweepEvery)
	defer check.Stop()
	defer sweep.Stop()
	moved := newGathering()
	defer moved.due.Stop()
	defer k.turns.tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-sub.C:
			k.heed(ctx, k.gather(c, sub.C, moved))
		case <-moved.due.C:
			if err := k.wakeCircles(ctx, moved.take()); err != nil && ctx.Err() == nil {
				k.log.Error("look for those who are told of presence", "err", err)
			}
		case <-k.turns.tick.C:
			k.takeTurns()
		case <-check.C:
			if err := k.check(ctx); err != nil && ctx.Err() == nil {
				k.log.Error("look for what changed", "err", err)
			}
		case <-sweep.C:
			k.sweep()
		}
	}
}

// hints are what changes of the bus say: who is to be woken.
type hints struct {
	rooms []roomserver.RoomNID
	users []matrix.UserID
	all   bool
}

// gather takes a change and those that have come since, up to gatherMost.
func (k *waker) gather(c bus.Change, more <-chan bus.Change, moved *gathering) *hints {
	h := new(hints)
	for range gatherMost {
		if c.Kind == bus.Presence && k.circles.most > 0 {
			moved.add(c)
		}
		k.note(h, c)
		select {
		case c = <-more:
		default:
			return h
		}
	}
	return h
}

// note takes a hint.
func (k *waker) note(h *hints, c bus.Change) {
	switch c.Kind {
	case bus.Room:
		if nid, err := strconv.ParseInt(c.Key, 10, 64); err == nil {
			k.rooms.note(roomserver.RoomNID(nid), c.Pos)
			h.rooms = append(h.rooms, roomserver.RoomNID(nid))
		}
	case bus.Typing:
		k.mu.Lock()
		if nid, watched := k.byID[matrix.RoomID(c.Key)]; watched {
			h.rooms = append(h.rooms, nid)
		}
		k.mu.Unlock()
	case bus.User:
		k.users.note(matrix.UserID(c.Key), c.Pos)
		h.users = append(h.users, matrix.UserID(c.Key))
	case account.TokensChanged:
		k.doubt(matrix.UserID(c.Key))
		h.users = append(h.users, matrix.UserID(c.Key)) // some of them may have nothing to wait for any more
	case bus.Lost:
		h.all = true
	}
}

// doubt has those who wait for a user asked whether they may.
func (k *waker) doubt(user matrix.UserID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.watches[user]; w != nil {
		for _, it := range w.waiters {
			it.doubted.Store(true)
		}
	}
}

// heed wakes those whom changes concern. Where they are many in one room, what they will read is read before.
func (k *waker) heed(ctx context.Context, h *hints) {
	if h.all {
		k.wakeAll()
		return
	}
	k.wakeUsers(h.users...)
	slices.Sort(h.rooms)
	rooms := slices.Compact(h.rooms)
	if many := k.withMany(rooms); len(many) > 0 && k.warm != nil {
		if err := k.warm(ctx, many); err != nil && ctx.Err() == nil {
			k.log.Error("read rooms for those who wait", "err", err)
		}
	}
	k.wakeRooms(rooms...)
}

// withMany gives those of the rooms in which several wait.
func (k *waker) withMany(rooms []roomserver.RoomNID) []roomserver.RoomNID {
	const several = 3
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []roomserver.RoomNID
	for _, nid := range rooms {
		n := 0
		if a := k.audiences[nid]; a != nil {
			for _, w := range a.watches {
				if n += len(w.waiters); n >= several {
					out = append(out, nid)
					break
				}
			}
		}
	}
	return out
}

// wakeRooms signals all who watch the rooms.
func (k *waker) wakeRooms(rooms ...roomserver.RoomNID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, nid := range rooms {
		a := k.audiences[nid]
		switch {
		case a == nil:
		case k.turns.large(a):
			k.turns.add(nid, a)
		default:
			for _, w := range a.watches {
				w.signal()
			}
		}
	}
}

func (k *waker) wakeUsers(users ...matrix.UserID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, user := range users {
		if w := k.watches[user]; w != nil {
			w.signal()
		}
	}
}

func (k *waker) wakeAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.watches {
		for _, it := range w.waiters {
			it.doubted.Store(true)
			it.signal()
		}
	}
}

// fill brings the tails up to the position of a transaction, and wakes those who wait for what no hint
// had come of.
func (k *waker) fill(tx *store.Tx, upto int64) error {
	rooms, err := k.rooms.fill(tx, upto)
	if err != nil {
		return err
	}
	if len(rooms) > 0 {
		k.wakeRooms(rooms...)
	}
	if _, err := k.members.fill(tx, upto); err != nil {
		return err
	}
	if _, err := k.lists.fill(tx, upto); err != nil {
		return err
	}
	users, err := k.users.fill(tx, upto)
	if len(users) > 0 {
		k.wakeUsers(users...)
	}
	return err
}

// check looks at the database by itself.
func (k *waker) check(ctx context.Context) error {
	return k.db.View(ctx, func(tx *store.Tx) error {
		upto, err := tx.Pos()
		if err != nil {
			return err
		}
		return k.fill(tx, upto)
	})
}

// sweep forgets users whom nobody has waited for in a long time.
func (k *waker) sweep() {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.now().Add(-watchIdle)
	for user, w := range k.watches {
		if len(w.waiters) > 0 || w.idle.After(before) {
			continue
		}
		for _, r := range w.joined {
			k.detach(w, r)
		}
		delete(k.watches, user)
	}
}
