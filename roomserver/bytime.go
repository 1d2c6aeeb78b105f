package roomserver

import (
	"context"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// EventByTime finds the event whose origin_server_ts is nearest to a time: not before it, or, backward,
// not after it. Of those with the same time it is the first, or, backward, the last of the timeline.
//
// Times are what senders say. A room of at most scanMost places is searched whole. In a greater one the
// times are taken to rise with the timeline, but for scanMost places around where the time is met.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
func (r *Rooms) EventByTime(ctx context.Context, v Viewer, room matrix.RoomID, ts int64, backward bool) (*Event, error) {
	var found *Event
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, v.User, room)
		if err != nil {
			return err
		}
		look, err := r.sight(tx, v, a.Room)
		if err != nil {
			return err
		}
		found, err = r.nearest(tx, a, byTime{ts, backward, func(e *Event, it Item) (bool, error) {
			seen, _, err := look.sees(e, it)
			return seen == rules.VisibleInFull, err
		}})
		return err
	})
	return found, notThere(found, err)
}

// EventByTimeFor is EventByTime for another server, which must be in the room.
//
// Spec: SS GET /_matrix/federation/v1/timestamp_to_event/{roomId}
func (r *Rooms) EventByTimeFor(ctx context.Context, asks matrix.ServerName, room matrix.RoomID, ts int64, backward bool) (*Event, error) {
	var found *Event
	err := r.db.View(ctx, func(tx *store.Tx) error {
		h, err := r.headFor(tx, room, asks)
		if err == nil {
			err = r.admits(tx, h, asks)
		}
		if err != nil {
			return err
		}
		look := r.serverSight(tx, h, asks)
		found, err = r.nearest(tx, Access{Room: h.Room, Head: h, Seq: h.Seq}, byTime{ts, backward, func(e *Event, _ Item) (bool, error) {
			return look.sees(e)
		}})
		return err
	})
	return found, notThere(found, err)
}

func notThere(e *Event, err error) error {
	if err == nil && e == nil {
		return matrix.NotFound("the room has no event that you may see on that side of the time")
	}
	return err
}

// byTime asks for the event nearest to a time, of those that somebody sees.
type byTime struct {
	ts       int64
	backward bool
	sees     func(e *Event, it Item) (bool, error)
}

// aroundTime finds the places of a room among which an event of a time is sought, oldest first.
func (r *Rooms) aroundTime(tx *store.Tx, a Access, ts int64) ([]Item, error) {
	items, err := itemsBefore(tx, a.Room, a.Seq+1, scanMost+1)
	if err != nil {
		return nil, err
	}
	if len(items) <= scanMost {
		slices.Reverse(items)
		return items, nil
	}
	met, err := r.timeMet(tx, a, ts)
	if err != nil {
		return nil, err
	}
	if items, err = itemsBefore(tx, a.Room, met, scanMost/2); err != nil {
		return nil, err
	}
	slices.Reverse(items)
	after, err := itemsAfter(tx, a.Room, met-1, scanMost/2)
	for _, it := range after {
		if it.Seq <= a.Seq {
			items = append(items, it)
		}
	}
	return items, err
}

// timeMet finds the first place that is not before a time, by halves, as if the times rose.
func (r *Rooms) timeMet(tx *store.Tx, a Access, ts int64) (int64, error) {
	first, err := itemsAfter(tx, a.Room, -maxSeq, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	low, high := first[0].Seq, a.Seq
	for low < high {
		middle := low + (high-low)/2
		at, err := itemsAfter(tx, a.Room, middle-1, 1)
		if err != nil || len(at) == 0 {
			return 0, err
		}
		e, err := r.event(tx, at[0].NID)
		if err != nil {
			return 0, err
		}
		if e.OriginServerTS() < ts {
			low = at[0].Seq + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// nearest finds the event that is asked for; nil: there is none.
func (r *Rooms) nearest(tx *store.Tx, a Access, q byTime) (*Event, error) {
	items, err := r.aroundTime(tx, a, q.ts)
	if err != nil {
		return nil, err
	}
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	events, err := r.Events(tx, nids)
	if err != nil {
		return nil, err
	}
	var best *Event
	for _, it := range items {
		e, ok := events[it.NID]
		if !ok {
			return nil, fmt.Errorf("the timeline of room %d names the event %d, which is not there", a.Room, it.NID)
		}
		at := e.OriginServerTS()
		if q.backward && (at > q.ts || best != nil && at < best.OriginServerTS()) ||
			!q.backward && (at < q.ts || best != nil && at >= best.OriginServerTS()) {
			continue
		}
		seen, err := q.sees(e, it)
		if err != nil {
			return nil, err
		}
		if seen {
			best = e
		}
	}
	return best, nil
}
