package roomserver

import (
	"context"
	"fmt"

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
		items, err := r.aroundTime(tx, a, ts)
		if err != nil {
			return err
		}
		found, err = r.nearest(tx, look, items, ts, backward)
		return err
	})
	if err == nil && found == nil {
		err = matrix.NotFound("the room has no event that you may see on that side of the time")
	}
	return found, err
}

// aroundTime finds the places of a room among which an event of a time is sought, oldest first.
func (r *Rooms) aroundTime(tx *store.Tx, a Access, ts int64) ([]Item, error) {
	after := a.Seq - scanMost
	older, err := itemsBefore(tx, a.Room, after+1, 1)
	if err != nil {
		return nil, err
	}
	if len(older) > 0 {
		met, err := r.timeMet(tx, a, ts)
		if err != nil {
			return nil, err
		}
		after = met - scanMost/2
	}
	items, err := itemsAfter(tx, a.Room, after, scanMost)
	for i, it := range items {
		if it.Seq > a.Seq {
			return items[:i], err
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

// nearest finds the event of the places that is nearest to a time.
func (r *Rooms) nearest(tx *store.Tx, look *sight, items []Item, ts int64, backward bool) (*Event, error) {
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
			return nil, fmt.Errorf("the timeline of room %d names the event %d, which is not there", look.room, it.NID)
		}
		at := e.OriginServerTS()
		if backward && (at > ts || best != nil && at < best.OriginServerTS()) ||
			!backward && (at < ts || best != nil && at >= best.OriginServerTS()) {
			continue
		}
		seen, _, err := look.sees(e, it)
		if err != nil {
			return nil, err
		}
		if seen == rules.VisibleInFull {
			best = e
		}
	}
	return best, nil
}
