package inbound

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// The kinds of jobs by which events are received. The key of each is the number of a room.
const (
	jobReceive = "receive" // what is at hand
	jobFill    = "fill"    // what has to be fetched before
)

const (
	receiveMost = 100 // events that are received at a time
	receiveTurn = 5 * time.Second
	// fillPause is how long it takes until what is before an event is asked for again, doubled with each further time
	// up to fillRest; after so many times the event is given up.
	fillPause   = 2 * time.Second
	fillRest    = 10 * time.Minute
	maxAttempts = 13
	// freeAfter is how long an event that was put aside waits after one before it came: in a burst that comes out of
	// order it is looked at once, and not once for each of those.
	freeAfter = 50 * time.Millisecond
	// entryPause is how often it is looked whether a room has been entered of which events wait.
	entryPause = 100 * time.Millisecond
)

// staged is an event that waits to be received.
type staged struct {
	ev       *rules.Event
	origin   matrix.ServerName
	attempts int
}

// receiveRoom receives the events of a room for which nothing has to be fetched.
func (i *Inbound) receiveRoom(ctx context.Context, j store.Job) error {
	for began := time.Now(); ; {
		if time.Since(began) > receiveTurn { // others have a turn
			return i.db.Update(ctx, func(tx *store.Tx) error { return tx.Enqueue(store.Job{Kind: jobReceive, Key: j.Key}) })
		}
		room, events, err := i.read(ctx, j, false)
		if err != nil || room == 0 {
			return err
		}
		if len(events) == 0 {
			return i.again(ctx, room, j, false)
		}
		var done, aside []matrix.EventID
		events = inOrder(events)
		together := i.rooms.ReceiveAll(ctx, eventsOf(events))
		for n, s := range events {
			status, err := together[n].Status, together[n].Err
			if !atRest(err) { // by itself: a state is to be made before, or one before it was not there yet
				status, err = i.rooms.ReceiveAtHand(ctx, s.ev)
			}
			var gap *roomserver.Gap
			var lacking *roomserver.Unrecommended
			switch {
			case errors.As(err, &gap), errors.As(err, &lacking):
				aside = append(aside, s.ev.ID())
			case i.settled(s, status, err):
				done = append(done, s.ev.ID())
			default:
				return fmt.Errorf("receive %s: %w", s.ev.ID(), err)
			}
		}
		err = i.db.Update(ctx, func(tx *store.Tx) error {
			if err := i.release(tx, room, done); err != nil || len(aside) == 0 {
				return err
			}
			if err := putAside(tx, room, aside); err != nil {
				return err
			}
			return tx.Enqueue(store.Job{Kind: jobFill, Key: j.Key})
		})
		if err != nil {
			return fmt.Errorf("note what was received: %w", err)
		}
	}
}

// early says whether this server is not in a room. While a user of ours is about to enter it the events wait; where
// nobody is, as when the room was removed meanwhile, they are for nobody here.
func (i *Inbound) early(ctx context.Context, j store.Job, room roomserver.RoomNID) (bool, error) {
	inside, about, err := i.rooms.Awaits(ctx, room)
	switch {
	case err != nil || inside:
		return false, err
	case about:
		return true, i.db.Update(ctx, func(tx *store.Tx) error { return tx.Postpone(j, entryPause) })
	}
	if err := i.db.Update(ctx, func(tx *store.Tx) error { return unstageRoom(tx, room) }); err != nil {
		return true, fmt.Errorf("forget events of a room that was not entered: %w", err)
	}
	return true, nil
}

// release forgets events that were received, and lets those be received for which they were waited.
func (i *Inbound) release(tx *store.Tx, room roomserver.RoomNID, done []matrix.EventID) error {
	if len(done) == 0 {
		return nil
	}
	if err := unstage(tx, room, done); err != nil {
		return err
	}
	return i.free(tx, room, done)
}

// free lets events be received that were put aside, and wait for those that are done.
func (i *Inbound) free(tx *store.Tx, room roomserver.RoomNID, done []matrix.EventID) error {
	rows, err := readAside(tx, room, receiveMost)
	if err != nil || len(rows) == 0 {
		return err
	}
	events, err := i.parse(tx, room, rows)
	if err != nil {
		return err
	}
	known := make(map[matrix.EventID]bool)
	for _, id := range done {
		known[id] = true
	}
	var free []matrix.EventID
	for _, s := range inOrder(events) {
		if slices.ContainsFunc(s.ev.Prev(), func(prev matrix.EventID) bool { return known[prev] }) {
			known[s.ev.ID()] = true
			free = append(free, s.ev.ID())
		}
	}
	if len(free) == 0 {
		return nil
	}
	if err := takeBack(tx, room, free, freeAfter.Milliseconds()); err != nil {
		return err
	}
	return tx.Enqueue(store.Job{Kind: jobReceive, Key: room.String(), Delay: freeAfter})
}

// atRest says of what came of an event that it would be the same once more.
func atRest(err error) bool {
	var wrong *matrix.Error
	return err == nil || errors.As(err, &wrong)
}

// settled says whether an event need not be received again: it was, or it is refused.
func (i *Inbound) settled(s *staged, status roomserver.Status, err error) bool {
	var wrong *matrix.Error
	switch {
	case errors.As(err, &wrong):
		received.WithLabelValues("refused").Inc()
		i.log.Info("an event of another server is refused", "origin", s.origin, "room", s.ev.RoomID(), "event", s.ev.ID(), "error", err)
		return true
	case err != nil:
		return false
	case status == roomserver.Rejected:
		received.WithLabelValues("rejected").Inc()
	case status == roomserver.SoftFailed:
		received.WithLabelValues("soft_failed").Inc()
	default:
		received.WithLabelValues("accepted").Inc()
	}
	return true
}

// fillRoom receives the events of a room before which others are missing, which are fetched.
func (i *Inbound) fillRoom(ctx context.Context, j store.Job) error {
	room, events, err := i.read(ctx, j, true)
	if err != nil || room == 0 {
		return err
	}
	failed := make(map[matrix.EventID]error)
	for _, s := range inOrder(i.prune(ctx, room, events)) {
		if err := i.fill(ctx, room, s, failed); err != nil {
			return err
		}
	}
	return i.again(ctx, room, j, true)
}

// again has a job come again when there is something to be done.
func (i *Inbound) again(ctx context.Context, room roomserver.RoomNID, j store.Job, gap bool) error {
	look := func(tx *store.Tx) (time.Duration, bool, error) {
		ms, any, err := nextDue(tx, room, gap)
		return time.Duration(max(ms, 1)) * time.Millisecond, any, err
	}
	any := false
	err := i.db.View(ctx, func(tx *store.Tx) (err error) {
		_, any, err = look(tx)
		return err
	})
	if err != nil || !any {
		return err
	}
	return i.db.Update(ctx, func(tx *store.Tx) error {
		wait, any, err := look(tx)
		if err != nil || !any {
			return err
		}
		return tx.Postpone(j, wait)
	})
}

// fill receives one event. Where one before it has failed just now, so has it.
func (i *Inbound) fill(ctx context.Context, room roomserver.RoomNID, s *staged, failed map[matrix.EventID]error) error {
	var err error
	for _, prev := range s.ev.Prev() {
		if before := failed[prev]; before != nil {
			err = fmt.Errorf("an event before it could not be received: %w", before)
		}
	}
	var status roomserver.Status
	if err == nil {
		status, err = i.remote.Receive(ctx, s.origin, s.ev)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !i.settled(s, status, err) {
		failed[s.ev.ID()] = err
		var away *roomserver.Away
		switch {
		case errors.As(err, &away) && away.After > 0:
			pause := away.After + rand.N(away.After/4+1)
			return i.db.Update(ctx, func(tx *store.Tx) error { return waitFor(tx, room, s.ev.ID(), pause.Milliseconds()+1) })
		case s.attempts+1 < maxAttempts:
			pause := min(fillPause<<min(s.attempts, 10), fillRest)
			pause += rand.N(pause / 4)
			i.log.Info("an event of another server is received later", "origin", s.origin, "room", s.ev.RoomID(), "event", s.ev.ID(),
				"again", pause.Round(time.Second), "error", err)
			return i.db.Update(ctx, func(tx *store.Tx) error { return postpone(tx, room, s.ev.ID(), pause.Milliseconds()) })
		}
		received.WithLabelValues("given_up").Inc()
		i.log.Warn("an event of another server is given up", "origin", s.origin, "room", s.ev.RoomID(), "event", s.ev.ID(), "error", err)
	}
	return i.db.Update(ctx, func(tx *store.Tx) error { return i.release(tx, room, []matrix.EventID{s.ev.ID()}) })
}

// prune leaves out events that others of those that wait follow, where many wait for what is before them: they come
// with those others.
func (i *Inbound) prune(ctx context.Context, room roomserver.RoomNID, events []*staged) []*staged {
	if len(events) < receiveMost {
		return events
	}
	followed := make(map[matrix.EventID]bool)
	for _, s := range events {
		for _, prev := range s.ev.Prev() {
			followed[prev] = true
		}
	}
	var kept []*staged
	var out []matrix.EventID
	for _, s := range events {
		if s.attempts > 0 && followed[s.ev.ID()] {
			out = append(out, s.ev.ID())
		} else {
			kept = append(kept, s)
		}
	}
	if err := i.db.Update(ctx, func(tx *store.Tx) error { return unstage(tx, room, out) }); err != nil {
		i.log.Warn("leave out events that others follow", "error", err)
		return events
	}
	received.WithLabelValues("pruned").Add(float64(len(out)))
	return kept
}

// read reads events of a job's room that wait; no room: they wait on, or are forgotten, since we are not in it.
func (i *Inbound) read(ctx context.Context, j store.Job, gap bool) (room roomserver.RoomNID, events []*staged, err error) {
	nid, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("the key of a job names no room: %w", err)
	}
	room = roomserver.RoomNID(nid)
	if early, err := i.early(ctx, j, room); early || err != nil {
		return 0, nil, err
	}
	err = i.db.View(ctx, func(tx *store.Tx) error {
		rows, err := readStaged(tx, room, gap, receiveMost)
		if err != nil {
			return err
		}
		events, err = i.parse(tx, room, rows)
		return err
	})
	if err != nil {
		return room, nil, fmt.Errorf("read events that wait: %w", err)
	}
	return room, events, nil
}

// parse makes events of rows.
func (i *Inbound) parse(tx *store.Tx, room roomserver.RoomNID, rows []stagedRow) ([]*staged, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	heads, err := i.rooms.Heads(tx, []roomserver.RoomNID{room})
	if err != nil {
		return nil, err
	}
	v, known := rules.ByID(matrix.RoomVersion(heads[room].Version))
	if !known {
		return nil, fmt.Errorf("room %d has the version %q, which is not supported", room, heads[room].Version)
	}
	events := make([]*staged, len(rows))
	for n, row := range rows {
		ev, err := rules.Load(v, row.id, row.json)
		if err != nil {
			return nil, err
		}
		events[n] = &staged{ev, row.origin, row.attempts}
	}
	return events, nil
}

// inOrder puts events behind those that are before them in the graph, and else leaves them in the order in which
// they came.
func inOrder(events []*staged) []*staged {
	byID := make(map[matrix.EventID]*staged, len(events))
	for _, s := range events {
		byID[s.ev.ID()] = s
	}
	out := make([]*staged, 0, len(events))
	begun := make(map[matrix.EventID]bool, len(events))
	var put func(s *staged)
	put = func(s *staged) { // as deep as the events that wait at a time
		if begun[s.ev.ID()] {
			return
		}
		begun[s.ev.ID()] = true
		for _, prev := range s.ev.Prev() {
			if before := byID[prev]; before != nil {
				put(before)
			}
		}
		out = append(out, s)
	}
	for _, s := range events {
		put(s)
	}
	return out
}
