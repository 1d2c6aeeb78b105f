package roomserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// purgeStep is how many events one transaction removes at most.
const purgeStep = 500

// Purged is an event that is removed for good.
type Purged struct {
	NID    int64
	ID     matrix.EventID
	Room   RoomNID
	Sender matrix.UserID
	Member matrix.UserID // whose membership it was; empty: it was none
}

// PurgeHooks let others forget what they know of events and rooms, in the transaction that removes these.
type PurgeHooks struct {
	Purged   []func(tx *store.Tx, gone []Purged) error
	Vanished []func(tx *store.Tx, room RoomNID) error
	// Deserted forget what some users of ours had of a room that is about to vanish.
	Deserted []func(tx *store.Tx, room RoomNID, id matrix.RoomID, users []matrix.UserID) error
	// Emptied remove what else there is of a room that has vanished, at most so many rows, and tell how many these were.
	Emptied []func(tx *store.Tx, room RoomNID, most int) (int, error)
}

// OnPurge adds hooks, before anything runs.
func (r *Rooms) OnPurge(h PurgeHooks) {
	r.purge.Purged = append(r.purge.Purged, h.Purged...)
	r.purge.Vanished = append(r.purge.Vanished, h.Vanished...)
	r.purge.Deserted = append(r.purge.Deserted, h.Deserted...)
	r.purge.Emptied = append(r.purge.Emptied, h.Emptied...)
}

// drop removes events, and what others know of them. These look after the events are gone: a follower that has read
// one before, and writes after, finds that it is not there any more.
func (r *Rooms) drop(tx *store.Tx, room RoomNID, gone []Purged) error {
	tx.AfterCommit(func() {
		for _, e := range gone {
			r.events.Delete(e.NID)
		}
	})
	if err := deleteEvents(tx, room, gone); err != nil {
		return err
	}
	for _, purged := range r.purge.Purged {
		if err := purged(tx, gone); err != nil {
			return err
		}
	}
	return nil
}

func idsOf(gone []Purged) []matrix.EventID {
	ids := make([]matrix.EventID, len(gone))
	for i, e := range gone {
		ids[i] = e.ID
	}
	return ids
}

// Whole says which of some events have been neither purged nor redacted. Who writes something about an event that was
// read in another transaction asks for it, with a lock of its own that its hook takes too.
func (r *Rooms) Whole(tx *store.Tx, nids []int64) (map[int64]bool, error) {
	return eventsThere(tx, nids, " AND redacted_by = 0")
}

// Hold says which of some events have not been purged, and keeps those from it to the end of the transaction.
func (r *Rooms) Hold(tx *store.Tx, nids []int64) (map[int64]bool, error) {
	return eventsThere(tx, nids, " ORDER BY shard, event_nid {FOR UPDATE}")
}

// LocalsIn lists users of this server who are in a room, are invited to it or knock: those after one of them.
func (r *Rooms) LocalsIn(ctx context.Context, id matrix.RoomID, after matrix.UserID, limit int) (users []matrix.UserID, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		nid, known, err := r.NID(tx, id)
		if err != nil || !known {
			return err
		}
		users, err = localsIn(tx, nid, r.server, after, limit)
		return err
	})
	return users, err
}

// Unname takes a room's aliases on this server away, and the room out of the directory. It tells the aliases, and
// the position of the stream at which that was so.
func (r *Rooms) Unname(ctx context.Context, id matrix.RoomID) (aliases []matrix.RoomAlias, pos int64, err error) {
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		if pos, err = tx.Pos(); err != nil {
			return err
		}
		nid, known, err := r.NID(tx, id)
		if err != nil || !known {
			return err
		}
		if aliases, err = aliasesOf(tx, nid, aliasesMost); err != nil {
			return err
		}
		for _, a := range aliases {
			if err := deleteAlias(tx, a); err != nil {
				return err
			}
		}
		return publish(tx, nid, id, false)
	})
	return aliases, pos, err
}

// Passed says whether all followers of the stream have read up to a position.
func (r *Rooms) Passed(ctx context.Context, pos int64) (passed bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		slowest, found, err := slowestFollower(tx)
		passed = !found || slowest >= pos
		return err
	})
	return passed, err
}

// Desert has some users of ours, those after one of them, lose what they have of a room that is about to vanish, and tells
// who was the last; empty: there are no more.
func (r *Rooms) Desert(ctx context.Context, id matrix.RoomID, after matrix.UserID) (last matrix.UserID, err error) {
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		last = ""
		nid, known, err := r.NID(tx, id)
		if err != nil || !known {
			return err
		}
		users, err := localsEver(tx, nid, r.server, after, purgeStep)
		if err != nil || len(users) == 0 {
			return err
		}
		last = users[len(users)-1]
		for _, deserted := range r.purge.Deserted {
			if err := deserted(tx, nid, id, users); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("forget what users have of room %s: %w", id, err)
	}
	return last, nil
}

// Vanish takes a room that no user of ours is in out of what anybody can see, in one step. What is left of it is
// removed by Purge. The room's number stays its own: who joins it by another server later finds a new beginning.
func (r *Rooms) Vanish(ctx context.Context, id matrix.RoomID) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		nid, known, err := r.NID(tx, id)
		if err != nil || !known {
			return err
		}
		if _, err := readHeads(tx, []int64{int64(nid)}, true); err != nil { // waits for a batch that writes to the room
			return err
		}
		if err := r.vanish(tx, nid); err != nil {
			return fmt.Errorf("make room %s vanish: %w", id, err)
		}
		return nil
	})
}

func (r *Rooms) vanish(tx *store.Tx, room RoomNID) error {
	locals, err := r.LocalMembers(tx, room)
	if err != nil {
		return err
	}
	users := make([]matrix.UserID, len(locals))
	for i, m := range locals {
		users[i] = m.User
	}
	if err := deleteRoom(tx, room, users); err != nil {
		return err
	}
	for _, vanished := range r.purge.Vanished {
		if err := vanished(tx, room); err != nil {
			return err
		}
	}
	return nil
}

// Purge removes some events of a room that has vanished, those after a number, and tells how far it came; 0: to the
// end.
func (r *Rooms) Purge(ctx context.Context, id matrix.RoomID, after int64) (last int64, err error) {
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		last = 0
		nid, known, err := r.NID(tx, id)
		if err != nil || !known {
			return err
		}
		if heads, err := r.Heads(tx, []RoomNID{nid}); err != nil || len(heads) > 0 {
			return err // somebody has joined it anew: what there is is of now
		}
		gone, err := eventsAfter(tx, nid, after, purgeStep)
		if err != nil {
			return err
		}
		if len(gone) == 0 {
			last, err = r.empty(tx, nid, after)
			return err
		}
		last = gone[len(gone)-1].NID
		if err := r.drop(tx, nid, gone); err != nil {
			return err
		}
		return forgetEventIDs(tx, idsOf(gone))
	})
	if err != nil {
		return 0, fmt.Errorf("purge room %s: %w", id, err)
	}
	return last, nil
}

// empty removes some of what a room without events has left, and gives the number after which there were none; 0: that
// was all.
func (r *Rooms) empty(tx *store.Tx, room RoomNID, after int64) (int64, error) {
	for _, emptied := range r.purge.Emptied {
		if n, err := emptied(tx, room, purgeStep); n > 0 || err != nil {
			return max(after, 1), err
		}
	}
	return 0, state.Purge(tx, room.Shard(), int64(room))
}

// Bound is up to where a room's history is purged: before an event, or before a time.
type Bound struct {
	Event matrix.EventID
	Time  int64 // milliseconds, where Event is empty
}

// PurgePlace finds the place in a room's timeline before which its history is to be purged.
func (r *Rooms) PurgePlace(ctx context.Context, id matrix.RoomID, b Bound) (place int64, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		if b.Event != "" {
			it, ok, err := r.Place(tx, h.Room, b.Event)
			if err == nil && !ok {
				err = matrix.NotFound("there is no event %s in the room", b.Event)
			}
			place = it.Seq
			return err
		}
		place, err = r.placeAtTime(tx, h, b.Time)
		return err
	})
	return place, err
}

// placeAtTime finds the first place of a timeline whose event is not older than a time, from the newest on
// downwards, by halves.
func (r *Rooms) placeAtTime(tx *store.Tx, h Head, ts int64) (int64, error) {
	low, high := int64(-maxSeq), h.Seq+1
	if first, err := itemsAfter(tx, h.Room, low, 1); err != nil || len(first) == 0 {
		return high, err
	} else {
		low = first[0].Seq
	}
	for low < high {
		mid := low + (high-low)/2
		items, err := itemsAfter(tx, h.Room, mid-1, 1)
		if err != nil {
			return 0, err
		}
		if len(items) == 0 || items[0].Seq >= high {
			high = mid
			continue
		}
		e, err := r.event(tx, items[0].NID)
		if err != nil {
			return 0, err
		}
		if e.OriginServerTS() < ts {
			low = items[0].Seq + 1
		} else {
			high = mid
		}
	}
	return high, nil
}

// PurgeHistory removes some messages of a room between two places, and tells up to where; before: it is done. State
// stays, and so do messages of our users, of which there may be no other copy, unless ours is set.
func (r *Rooms) PurgeHistory(ctx context.Context, id matrix.RoomID, after, before int64, ours bool) (place int64, err error) {
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		items, err := itemsAfter(tx, h.Room, after, purgeStep)
		if err != nil {
			return err
		}
		place = before
		var nids []int64
		for i, it := range items {
			if it.Seq >= min(before, h.Seq) { // the newest event is what the next one builds on
				items = items[:i]
				break
			}
			nids = append(nids, it.NID)
		}
		if len(items) == purgeStep {
			place = items[purgeStep-1].Seq
		}
		return r.dropMessages(tx, h.Room, nids, ours)
	})
	if err != nil {
		return 0, fmt.Errorf("purge the history of %s: %w", id, err)
	}
	return place, nil
}

func (r *Rooms) dropMessages(tx *store.Tx, room RoomNID, nids []int64, ours bool) error {
	events, err := r.Events(tx, nids)
	if err != nil {
		return err
	}
	var gone []Purged
	for _, e := range events {
		if _, isState := e.StateKey(); isState || !ours && r.ours(e.Sender()) {
			continue
		}
		if rel, ok := relationIn(e.Content()); ok {
			if err := deleteRelation(tx, e, rel); err != nil {
				return err
			}
		}
		gone = append(gone, Purged{NID: e.NID, ID: e.ID(), Room: room, Sender: e.Sender()})
	}
	if len(gone) == 0 {
		return nil
	}
	slices.SortFunc(gone, func(a, b Purged) int { return cmp.Compare(a.NID, b.NID) }) // locks in one order
	return r.drop(tx, room, gone)
}

// SentBy lists events that a user sent to a room and that can be redacted, before a place of the timeline: what it
// finds among a number of places, and the place where it stopped; 0: at the beginning.
func (r *Rooms) SentBy(ctx context.Context, id matrix.RoomID, user matrix.UserID, before int64) (events []matrix.EventID, place int64, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		events, place = nil, 0
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		if before == 0 {
			before = h.Seq + 1
		}
		items, err := itemsBefore(tx, h.Room, before, purgeStep)
		if err != nil {
			return err
		}
		nids := make([]int64, len(items))
		for i, it := range items {
			nids[i] = it.NID
		}
		found, err := r.Events(tx, nids)
		for _, it := range items {
			if e, ok := found[it.NID]; ok && e.Sender() == user && redactable(e) {
				events = append(events, e.ID())
			}
		}
		if len(items) == purgeStep {
			place = items[purgeStep-1].Seq
		}
		return err
	})
	return events, place, err
}

// redactable says whether an event of somebody has something that a redaction takes away: messages, and the name and
// picture in a membership. Other state is the room's.
func redactable(e *Event) bool {
	_, isState := e.StateKey()
	return e.RedactedBy == 0 && e.Type() != "m.room.redaction" && (!isState || e.Type() == "m.room.member")
}

// RoomsAnywhereOf lists the rooms that a user of any server is or was in.
func (r *Rooms) RoomsAnywhereOf(ctx context.Context, user matrix.UserID, limit int) (rooms []matrix.RoomID, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) (err error) {
		rooms, err = roomsOf(tx, user, limit)
		return err
	})
	return rooms, err
}
