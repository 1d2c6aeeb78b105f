package inbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// What a transaction brought is received from memory, all of it together, as far as nothing has to be done before. The
// jobs of rooms do the rest, and all of it where the node dies or has too much to do.
const (
	// arrivalLanes are how many transactions are received at a time, those of one server one after the other, and
	// arrivalsMost how many wait in a lane.
	arrivalLanes = 8
	arrivalsMost = 8
	// arrivalsAtOnce is how many of a lane are received together, and laneTime how long the answer to a transaction waits
	// for a place in it.
	arrivalsAtOnce = 4
	laneTime       = 2 * time.Second
	// arrivalTime is when the jobs of the rooms look after what a transaction brought.
	arrivalTime = 5 * time.Second
)

// jobArrived asks for the jobs of the rooms of a transaction. Its key names the transaction.
const jobArrived = "arrived"

// arrival is what a transaction brought.
type arrival struct {
	origin matrix.ServerName
	events []*staged
	rooms  []roomserver.RoomNID // of the events, one by one
	job    string
}

// lanes are arrivals that wait, by server.
type lanes struct {
	seed maphash.Seed
	of   [arrivalLanes]chan *arrival
}

func newLanes() *lanes {
	l := &lanes{seed: maphash.MakeSeed()}
	for n := range l.of {
		l.of[n] = make(chan *arrival, arrivalsMost)
	}
	return l
}

func (l *lanes) lane(server matrix.ServerName) chan *arrival {
	return l.of[maphash.String(l.seed, string(server))%arrivalLanes]
}

// arrive stages the events of a transaction. From the commit on they are received, over any crash.
func (i *Inbound) arrive(tx *store.Tx, t Transaction, events []*judged) (*arrival, error) {
	if len(events) == 0 {
		return nil, nil
	}
	if err := stage(tx, t.Origin, events); err != nil {
		return nil, err
	}
	a := &arrival{origin: t.Origin, job: string(t.Origin) + " " + t.ID}
	of := make(map[matrix.EventID]roomserver.RoomNID, len(events))
	for _, e := range events {
		a.events = append(a.events, &staged{ev: e.ev, origin: t.Origin})
		of[e.ev.ID()] = e.room
	}
	a.events = inOrder(a.events)
	for _, s := range a.events {
		a.rooms = append(a.rooms, of[s.ev.ID()])
	}
	payload, err := json.Marshal(a.distinct())
	if err != nil {
		return nil, err
	}
	return a, tx.Enqueue(store.Job{Kind: jobArrived, Key: a.job, Payload: payload, Delay: arrivalTime})
}

// distinct are the rooms of the events, each once.
func (a *arrival) distinct() []roomserver.RoomNID {
	rooms := slices.Clone(a.rooms)
	slices.Sort(rooms)
	return slices.Compact(rooms)
}

// bring hands an arrival to its lane. Where that stays full the jobs of the rooms receive it.
func (i *Inbound) bring(ctx context.Context, a *arrival) error {
	if a == nil {
		return nil
	}
	full := time.NewTimer(laneTime)
	defer full.Stop()
	select {
	case i.lanes.lane(a.origin) <- a:
		return nil
	case <-full.C:
	case <-ctx.Done(): // the job comes by itself
		return nil
	}
	return i.db.Update(ctx, func(tx *store.Tx) error {
		if err := leave(tx, a.distinct()); err != nil {
			return err
		}
		return tx.Withdraw(jobArrived, a.job)
	})
}

// leave leaves what waits in rooms to their jobs.
func leave(tx *store.Tx, rooms []roomserver.RoomNID) error {
	for _, room := range rooms {
		if err := tx.Enqueue(store.Job{Kind: jobReceive, Key: room.String()}); err != nil {
			return err
		}
	}
	return nil
}

// receiveArrived does a job of the kind jobArrived: nobody has looked after a transaction.
func (i *Inbound) receiveArrived(ctx context.Context, j store.Job) error {
	var rooms []roomserver.RoomNID
	if err := json.Unmarshal(j.Payload, &rooms); err != nil {
		return fmt.Errorf("read the rooms of a transaction: %w", err)
	}
	return i.db.Update(ctx, func(tx *store.Tx) error { return leave(tx, rooms) })
}

// runLane receives what comes in a lane: what waits there together.
func (i *Inbound) runLane(ctx context.Context, lane chan *arrival) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-lane:
			all := []*arrival{first}
			for len(all) < arrivalsAtOnce && len(lane) > 0 {
				all = append(all, <-lane)
			}
			if err := i.receiveNow(ctx, all); err != nil && ctx.Err() == nil {
				i.log.Warn("what transactions brought is received later", "origin", first.origin, "error", err)
			}
		}
	}
}

// receiveNow receives arrivals, as far as they can be without waiting for anything.
func (i *Inbound) receiveNow(ctx context.Context, all []*arrival) error {
	var events []*staged
	var rooms []roomserver.RoomNID // of the events, one by one
	for _, a := range all {
		events, rooms = append(events, a.events...), append(rooms, a.rooms...)
	}
	var done []matrix.EventID
	of := make(map[roomserver.RoomNID][]matrix.EventID) // what is done, by room
	left := make(map[roomserver.RoomNID]bool)
	for n, got := range i.rooms.ReceiveAll(ctx, eventsOf(events)) {
		s, room := events[n], rooms[n]
		if errors.Is(got.Err, roomserver.ErrNotHere) || !i.settled(s, got.Status, got.Err) { // or not here yet
			left[room] = true
			continue
		}
		done = append(done, s.ev.ID())
		of[room] = append(of[room], s.ev.ID())
	}
	err := i.db.Update(ctx, func(tx *store.Tx) error {
		if err := i.releaseAll(tx, done, of); err != nil {
			return err
		}
		if err := leave(tx, slices.Sorted(maps.Keys(left))); err != nil {
			return err
		}
		for _, a := range all {
			if err := tx.Withdraw(jobArrived, a.job); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what was received: %w", err)
	}
	return nil
}

func eventsOf(all []*staged) []*rules.Event {
	events := make([]*rules.Event, len(all))
	for n, s := range all {
		events[n] = s.ev
	}
	return events
}

// releaseAll forgets events of rooms that were received, and lets those be received for which they were waited.
func (i *Inbound) releaseAll(tx *store.Tx, done []matrix.EventID, of map[roomserver.RoomNID][]matrix.EventID) error {
	if len(done) == 0 {
		return nil
	}
	rooms := slices.Sorted(maps.Keys(of))
	if err := unstageAll(tx, rooms, done); err != nil {
		return err
	}
	aside, err := withAside(tx, rooms)
	if err != nil {
		return err
	}
	for _, room := range aside {
		if err := i.free(tx, room, of[room]); err != nil {
			return err
		}
	}
	return nil
}
