package syncapi

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
)

// readJoined reads what is new in a room that the user is joined to.
func (r *reading) readJoined(v *visit) error {
	known, err := r.wasJoined(v.Room, v.Since)
	if err != nil {
		return err
	}
	j := &joinedNews{room: v.ID, entered: !known || r.fullState, ephemeral: v.ephemeral}
	now, err := r.recent(v.Room, 0)
	if err != nil {
		return err
	}
	j.head = now.head
	if v.moved || j.entered {
		sp := span{room: v.Room, above: r.since.Pos, below: beyond, now: j.head.Snap, fresh: j.entered, since: r.since.Pos}
		if !known {
			sp.above = everything
		}
		if err := r.readTimelineAndState(j, sp); err != nil {
			return err
		}
	}
	if !known && !r.initial {
		// The client may have a part of the timeline from when its user was here before.
		j.timeline.limited = true
		if j.ephemeral, err = r.allEphemeral(v.joinedRoom); err != nil {
			return err
		}
	}
	if j.account, err = r.roomAccountData(v.ID, !known); err != nil {
		return err
	}
	if err := r.readSticky(j, v, known); err != nil {
		return err
	}
	if j.worthTelling() {
		r.out.join = append(r.out.join, j)
	}
	return nil
}

func (r *reading) readTimelineAndState(j *joinedNews, sp span) error {
	var err error
	if j.timeline, err = r.readTimeline(sp); err != nil {
		return err
	}
	s, err := r.openState(sp, j.timeline)
	if err != nil {
		return err
	}
	if sp.fresh || s.renames() {
		if j.summary, err = r.summarize(sp.room, s, j.head); err != nil {
			return err
		}
	}
	if s.own = sp.fresh; j.summary != nil {
		s.heroes = j.summary.heroes
	}
	j.state, err = r.readState(s)
	return err
}

// wasJoined says whether the user was joined to a room at the client's token. A membership that began
// before is an answer; otherwise they may have left and come back since, and the state of then tells.
func (r *reading) wasJoined(room roomserver.RoomNID, began int64) (bool, error) {
	if r.initial {
		return false, nil
	}
	if began <= r.since.Pos {
		return true, nil
	}
	snap, err := r.stateAt(room, r.since.Pos)
	if err != nil {
		return false, err
	}
	return r.joinedIn(snap)
}

// joinedIn says whether the user is joined in a state of a room.
func (r *reading) joinedIn(snap int64) (bool, error) {
	m, err := r.membershipIn(snap)
	return m == matrix.Join, err
}

// membershipIn is the user's membership in a state.
func (r *reading) membershipIn(snap int64) (matrix.Membership, error) {
	st, err := r.a.rooms.State(r.tx, snap)
	if err != nil {
		return "", fmt.Errorf("load state %d: %w", snap, err)
	}
	e, err := r.a.rooms.StateEvent(r.tx, st, "m.room.member", string(r.viewer.User))
	if e == nil || err != nil {
		return matrix.Leave, err
	}
	return e.Membership(), nil
}

// countUnread counts what the user has not read of the rooms that are told.
//
// Spec: GET /_matrix/client/v3/sync (unread_notifications, unread_thread_notifications).
func (r *reading) countUnread() error {
	heads := make([]roomserver.Head, len(r.out.join))
	for i, j := range r.out.join {
		heads[i] = j.head
	}
	counts, err := r.a.push.Counts(r.tx, r.viewer.User, heads, r.known())
	if err != nil {
		return fmt.Errorf("count what is unread: %w", err)
	}
	for _, j := range r.out.join {
		j.unread = counts[j.head.Room]
	}
	return nil
}

// known is what the reading knows that counting asks for.
func (r *reading) known() *push.Known {
	user := r.viewer.User
	return &push.Known{
		Upto:    r.upto,
		Changed: func(since int64) bool { return r.a.waker.users.changed(user, since) },
		Read:    func(since int64) (bool, error) { return r.a.ephemeral.ReadSince(r.tx, user, since, r.upto) },
		Ignored: r.ignored,
		Newest:  r.newestPlaces,
	}
}

// newestPlaces gives the places of a room above one, newest first, and their events; false where that is
// not in memory.
func (r *reading) newestPlaces(room roomserver.RoomNID, above int64) ([]roomserver.Item, map[int64]*roomserver.Event, bool, error) {
	now, err := r.recent(room, 0)
	if err != nil {
		return nil, nil, false, err
	}
	n := 0
	for n < len(now.items) && now.items[n].Seq > above {
		n++
	}
	if n == len(now.items) && !now.whole {
		return nil, nil, false, nil
	}
	events, err := r.eventsAt(room, now.items[:n])
	return now.items[:n], events, true, err
}
