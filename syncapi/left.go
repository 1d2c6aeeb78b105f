package syncapi

import (
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// readLeft reads a room that the user left or was banned from, up to then and no further. One who was
// only invited, or banned without having been there, is told the member event alone.
func (r *reading) readLeft(u roomserver.UserRoom) error {
	l := &leftNews{room: u.ID, timeline: &timeline{}}
	if u.Seq == 0 {
		l.told = u.Stripped
	} else {
		if err := r.readPast(u, l); err != nil {
			return fmt.Errorf("read room %s, which was left: %w", u.ID, err)
		}
	}
	var err error
	if l.account, err = r.roomAccountData(u.ID, r.initial); err != nil {
		return err
	}
	r.out.leave = append(r.out.leave, l)
	return nil
}

func (r *reading) readPast(u roomserver.UserRoom, l *leftNews) error {
	at, err := r.a.rooms.Before(r.tx, u.Room, u.Seq+1, 1)
	if err != nil || len(at) == 0 {
		return err
	}
	known, err := r.wasJoined(u.Room, u.Pos)
	if err != nil {
		return err
	}
	was := known
	if !known {
		if was, err = r.joinedBefore(u); err != nil {
			return err
		}
	}
	sp := span{room: u.Room, above: r.since.Pos, below: u.Seq + 1, now: at[0].Snap, fresh: !known || r.fullState, since: r.since.Pos}
	if r.initial || was && !known {
		sp.above = everything
	}
	if l.timeline, err = r.readTimeline(sp); err != nil {
		return err
	}
	if !was {
		return r.tellEnd(u, l.timeline)
	}
	s, err := r.openState(sp, l.timeline)
	if err != nil {
		return err
	}
	s.own = sp.fresh
	l.state, err = r.readState(s)
	return err
}

// tellEnd makes sure that a user who knocked on a room, and so may see nothing of it, is told how that ended.
func (r *reading) tellEnd(u roomserver.UserRoom, t *timeline) error {
	if u.Pos <= r.since.Pos || slices.ContainsFunc(t.events, func(e *roomserver.ClientEvent) bool { return e.NID == u.Event }) {
		return nil
	}
	events, err := r.a.rooms.RenderState(r.tx, r.viewer, []int64{u.Event})
	if err != nil {
		return fmt.Errorf("show the end of a membership: %w", err)
	}
	for _, e := range events {
		was, err := r.membershipIn(e.SnapBefore)
		if err != nil {
			return err
		}
		if was == matrix.Knock && r.filter.timelineEvent(e) {
			t.events = append(t.events, e)
		}
	}
	return nil
}

// joinedBefore says whether the user was joined right before they left.
func (r *reading) joinedBefore(u roomserver.UserRoom) (bool, error) {
	events, err := r.a.rooms.Events(r.tx, []int64{u.Event})
	if err != nil {
		return false, err
	}
	e, ok := events[u.Event]
	if !ok {
		return false, nil
	}
	return r.joinedIn(e.SnapBefore)
}
