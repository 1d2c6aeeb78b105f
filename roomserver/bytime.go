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
// Times are what senders say. A room of at most scanMost places is searched whole. In a greater one they rise with the
// timeline but for those that are odd, which have an index.
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

// before says whether an event is to be preferred to another one, of those on the right side of the time.
func (q *byTime) before(e *Event, seq int64, other *Event, otherSeq int64) bool {
	at, there := e.OriginServerTS(), other.OriginServerTS()
	if q.backward {
		return at > there || at == there && seq > otherSeq
	}
	return at < there || at == there && seq < otherSeq
}

// found is the nearest event so far.
type found struct {
	event *Event
	seq   int64
}

// nearest finds the event that is asked for; nil: there is none.
func (r *Rooms) nearest(tx *store.Tx, a Access, q byTime) (*Event, error) {
	items, err := itemsBefore(tx, a.Room, a.Seq+1, scanMost+1)
	if err != nil {
		return nil, err
	}
	var best found
	if len(items) <= scanMost {
		_, err = r.consider(tx, a, q, &best, items)
		return best.event, err
	}
	if err := r.amongEven(tx, a, q, &best); err != nil {
		return nil, err
	}
	return best.event, r.amongOdd(tx, a, q, &best)
}

// consider looks at places, and says whether those that come next may be nearer: as far as times rise.
func (r *Rooms) consider(tx *store.Tx, a Access, q byTime, best *found, items []Item) (more bool, err error) {
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	events, err := r.Events(tx, nids)
	if err != nil {
		return false, err
	}
	for _, it := range items {
		e, ok := events[it.NID]
		if !ok {
			return false, fmt.Errorf("the timeline of room %d names the event %d, which is not there", a.Room, it.NID)
		}
		at := e.OriginServerTS()
		if it.Seq > a.Seq || q.backward && at > q.ts || !q.backward && at < q.ts {
			continue
		}
		if best.event != nil && !q.before(e, it.Seq, best.event, best.seq) {
			if far := at - best.event.OriginServerTS(); max(far, -far) > timeSlack.Milliseconds() {
				return false, nil
			}
			continue
		}
		seen, err := q.sees(e, it)
		if err != nil {
			return false, err
		}
		if seen {
			*best = found{e, it.Seq}
		}
	}
	return true, nil
}

// amongEven looks at the events around the place where the time is met, going away from it.
func (r *Rooms) amongEven(tx *store.Tx, a Access, q byTime, best *found) error {
	met, err := r.timeMet(tx, a, q)
	if err != nil {
		return err
	}
	const page, most = 200, 5 * scanMost
	for looked := 0; looked < most; looked += page {
		read := evenAfter
		if q.backward {
			read = evenBefore
		}
		items, err := read(tx, a.Room, met, page)
		if err != nil || len(items) == 0 {
			return err
		}
		more, err := r.consider(tx, a, q, best, items)
		if err != nil || !more {
			return err
		}
		met = items[len(items)-1].Seq
	}
	return nil
}

// timeMet finds a place behind which all events are that may be meant, or, backward, before which they are: by halves, since
// the times rise but for the slack.
func (r *Rooms) timeMet(tx *store.Tx, a Access, q byTime) (int64, error) {
	first, err := itemsAfter(tx, a.Room, -maxSeq, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	bound := q.ts - timeSlack.Milliseconds() // whatever stands before an event of an earlier time is too early
	if q.backward {
		bound = q.ts + timeSlack.Milliseconds() + 1
	}
	low, high := first[0].Seq, a.Seq+1
	for low < high {
		middle := low + (high-low)/2
		at, err := evenAfter(tx, a.Room, middle-1, 1)
		if err != nil {
			return 0, err
		}
		if len(at) == 0 || at[0].Seq >= high {
			high = middle
			continue
		}
		e, err := r.event(tx, at[0].NID)
		if err != nil {
			return 0, err
		}
		if e.OriginServerTS() < bound {
			low = at[0].Seq + 1
		} else {
			high = middle
		}
	}
	if q.backward {
		return low, nil
	}
	return low - 1, nil
}

// amongOdd looks at the events whose times are not those of their places.
func (r *Rooms) amongOdd(tx *store.Tx, a Access, q byTime, best *found) error {
	read := oddFrom
	if q.backward {
		read = oddUpTo
	}
	items, err := read(tx, a.Room, q.ts, scanMost)
	if err != nil {
		return err
	}
	_, err = r.consider(tx, a, q, best, items)
	return err
}
