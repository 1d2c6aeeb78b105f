package roomserver

import (
	"fmt"
	"slices"

	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// stickyMost bounds the sticky events of a room that one answer tells: the newest.
const stickyMost = 1000

// writeSticky keeps which events of the batch are sticky, and until when.
//
// Spec: MSC4354.
func (b *batch) writeSticky() error {
	var rows [][]any
	rooms := make(map[RoomNID]bool)
	now := b.r.now().UnixMilli()
	for _, s := range b.staged {
		if s.Sticky() == 0 {
			continue
		}
		until := s.until
		if until == 0 {
			until = stickyTime(s.Event, now)
		}
		if until <= now {
			continue
		}
		rooms[s.Room] = true
		rows = append(rows, []any{s.Room.Shard(), int64(s.Room), s.pos, s.NID, s.seq, until})
	}
	for room := range rooms {
		if err := deleteUnstuck(b.tx, room, now); err != nil {
			return err
		}
	}
	return insertSticky(b.tx, rows)
}

// stickyTime is until when an event is sticky that comes now.
func stickyTime(e *Event, now int64) int64 { return min(now, e.OriginServerTS()) + e.Sticky() }

// StickyRooms tells which of some rooms have events that are sticky.
func (r *Rooms) StickyRooms(tx *store.Tx, rooms []RoomNID) ([]RoomNID, error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	return stickyRooms(tx, rooms, r.now().UnixMilli())
}

// StickyBetween tells which rooms of all have events that are sticky, after one position up to another.
func (r *Rooms) StickyBetween(tx *store.Tx, after, upto int64) ([]RoomNID, error) {
	return stickyBetween(tx, after, upto, r.now().UnixMilli())
}

// Sticky gives the events of a room that are sticky, after one position up to another, the oldest first. They have no
// states with them.
func (r *Rooms) Sticky(tx *store.Tx, room RoomNID, after, upto int64) ([]Item, error) {
	items, err := stickyAfter(tx, room, after, upto, r.now().UnixMilli(), stickyMost)
	slices.Reverse(items)
	return items, err
}

// RenderSticky shows sticky events of a room to a member: history visibility does not matter. Redacted ones are not
// sticky any more, and those of users whom the viewer ignores are not shown.
func (r *Rooms) RenderSticky(tx *store.Tx, v Viewer, items []Item) ([]*ClientEvent, error) {
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	events, err := r.Events(tx, nids)
	if err != nil {
		return nil, err
	}
	var out []*ClientEvent
	for _, it := range items {
		if e, ok := events[it.NID]; ok && e.RedactedBy == 0 && (e.Sender() == v.User || !v.Ignores.has(e.Sender())) {
			out = append(out, &ClientEvent{Event: e, Seq: it.Seq})
		}
	}
	return out, r.complete(tx, v, out)
}

// sticks says whether an event is sticky now.
func (r *Rooms) sticks(tx *store.Tx, e *Event) (bool, error) {
	now := r.now().UnixMilli()
	if !e.mayBeSticky(now) {
		return false, nil
	}
	until, err := stickyUntil(tx, e.Room, []int64{e.NID})
	return until[e.NID] > now, err
}

// mayBeSticky says whether an event may be sticky, as far as the event itself tells.
func (e *Event) mayBeSticky(now int64) bool {
	return e.Sticky() > 0 && e.RedactedBy == 0 && e.OriginServerTS()+min(e.Sticky(), rules.MaxSticky) > now
}

// addSticky fills in for how much longer events are sticky.
func (r *Rooms) addSticky(tx *store.Tx, events []*ClientEvent, now int64) error {
	var maybe map[RoomNID][]int64
	for _, e := range events {
		if e.mayBeSticky(now) {
			if maybe == nil {
				maybe = make(map[RoomNID][]int64)
			}
			maybe[e.Room] = append(maybe[e.Room], e.NID)
		}
	}
	for room, nids := range maybe {
		until, err := stickyUntil(tx, room, nids)
		if err != nil {
			return fmt.Errorf("find until when events are sticky: %w", err)
		}
		for _, e := range events {
			if t := until[e.NID]; e.Room == room && t > now {
				e.StickyFor = t - now
			}
		}
	}
	return nil
}
