package roomserver

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// sight is what one user may see of one room, remembered by state. It is the one way by which events of
// a timeline reach a client.
type sight struct {
	r    *Rooms
	tx   *store.Tx
	room RoomNID
	user matrix.UserID
	not  *Ignored // users that they ignore
	// joinedUntil is the last place at or after which the user was in the room.
	joinedUntil int64
	history     int64 // tuples; 0: no event ever had it
	member      int64
	memo        map[int64]glance
	erasure     *erasure // nil: not asked for yet
}

// glance is what decides about the events at one state.
type glance struct {
	history    string
	membership matrix.Membership
}

func (r *Rooms) sight(tx *store.Tx, v Viewer, room RoomNID) (*sight, error) {
	ur, ok, err := r.UserRoom(tx, v.User, room)
	if err != nil {
		return nil, fmt.Errorf("read the membership of %s: %w", v.User, err)
	}
	s := r.newSight(tx, v, room)
	if ok {
		if s.joinedUntil, err = s.until(ur); err != nil {
			return nil, err
		}
	}
	return s, s.findTuples()
}

// sightInside is the sight of a viewer who is known to be in the room.
func (r *Rooms) sightInside(tx *store.Tx, v Viewer, room RoomNID) (*sight, error) {
	s := r.newSight(tx, v, room)
	s.joinedUntil = maxSeq
	return s, s.findTuples()
}

func (r *Rooms) newSight(tx *store.Tx, v Viewer, room RoomNID) *sight {
	return &sight{r: r, tx: tx, room: room, user: v.User, not: v.Ignores, memo: make(map[int64]glance, 1)}
}

func (s *sight) findTuples() (err error) {
	if s.history, _, err = s.r.Tuple(s.tx, "m.room.history_visibility", ""); err != nil {
		return err
	}
	s.member, _, err = s.r.Tuple(s.tx, "m.room.member", string(s.user))
	return err
}

// until finds the place up to which the user was in the room.
func (s *sight) until(ur UserRoom) (int64, error) {
	if ur.Membership == matrix.Join {
		return maxSeq, nil
	}
	it, ok, err := s.r.departure(s.tx, ur)
	if !ok {
		return 0, err
	}
	return it.Seq, err
}

// departureHops bounds how many changes of a membership are looked back: who was banned may have left
// before, been invited before that, and so on.
const departureHops = 8

// Departure finds where a user of this server, who is not in a room, was last in it; false: they never were, as far
// as this server looks back.
func (r *Rooms) Departure(tx *store.Tx, ur UserRoom) (Item, bool, error) { return r.departure(tx, ur) }

// departure finds where somebody who is not in a room was last in it; false: they never were, as far
// as this server looks back.
func (r *Rooms) departure(tx *store.Tx, ur UserRoom) (Item, bool, error) {
	nid := ur.Event
	for range departureHops {
		if nid == 0 { // a membership of which no event here tells
			return Item{}, false, nil
		}
		e, err := r.event(tx, nid)
		if err != nil {
			return Item{}, false, err
		}
		was, err := r.replaced(tx, e)
		if err != nil || was == nil {
			return Item{}, false, err
		}
		if was.Membership() == matrix.Join {
			return itemOf(tx, nid)
		}
		nid = was.NID
	}
	return Item{}, false, nil
}

// replaced finds the state event that an event replaced, nil if there was none.
func (r *Rooms) replaced(tx *store.Tx, e *Event) (*Event, error) {
	before, err := r.states.Load(tx, e.SnapBefore)
	if err != nil {
		return nil, err
	}
	nid, ok := before.Event(e.Tuple)
	if !ok {
		return nil, nil
	}
	return r.event(tx, nid)
}

// sees decides about an event at its place, and tells the user's membership there.
func (s *sight) sees(e *Event, it Item) (rules.Visibility, matrix.Membership, error) {
	if s.user == Overseer {
		return rules.VisibleInFull, "", nil
	}
	g, err := s.at(it.Snap)
	if err != nil {
		return rules.Hidden, "", err
	}
	look := rules.Sight{
		User: s.user, History: g.history, Membership: g.membership, Outside: it.Seq > s.joinedUntil,
		Type: e.Type(), Sender: e.Sender(), SoftFailed: e.Status == statusSoftFailed, Outlier: e.Status == statusOutlier,
		SenderIgnored: s.not.has(e.Sender()),
	}
	if key, ok := e.StateKey(); ok {
		look.StateKey = &key
		if err := s.lookBefore(&look, e); err != nil {
			return rules.Hidden, "", err
		}
	}
	if look.SenderErased, err = s.erases(e, g.membership); err != nil {
		return rules.Hidden, "", err
	}
	if look.Type == "m.call.invite" {
		if look.PublicJoin, err = s.public(it.Snap); err != nil {
			return rules.Hidden, "", err
		}
	}
	seen := rules.Visible(&look)
	if seen == rules.Hidden && s.joinedUntil == maxSeq {
		if look.Sticky, err = s.r.sticks(s.tx, e); look.Sticky {
			seen = rules.Visible(&look)
		}
	}
	return seen, g.membership, err
}

// lookBefore tells what stood before an event that changes what its reader may see.
func (s *sight) lookBefore(look *rules.Sight, e *Event) error {
	own := e.Type() == "m.room.member" && *look.StateKey == string(s.user)
	if !own && e.Type() != "m.room.history_visibility" {
		return nil
	}
	was, err := s.r.replaced(s.tx, e)
	if err != nil || was == nil {
		return err
	}
	if look.Before = was.HistoryVisibility(); own {
		look.Before = string(was.Membership())
	}
	return nil
}

// public says whether anybody may join, by a state.
func (s *sight) public(snap int64) (bool, error) {
	st, err := s.r.states.Load(s.tx, snap)
	if err != nil {
		return false, err
	}
	jr, err := s.r.StateEvent(s.tx, st, "m.room.join_rules", "")
	return jr != nil && jr.JoinRules().Rule == "public", err
}

// at looks at a state: the room's once an event was there.
func (s *sight) at(snap int64) (glance, error) {
	if g, ok := s.memo[snap]; ok {
		return g, nil
	}
	g := glance{membership: matrix.Leave}
	st, err := s.r.states.Load(s.tx, snap)
	if err != nil {
		return g, err
	}
	if e, err := s.holder(st, s.history); err != nil {
		return g, err
	} else if e != nil {
		g.history = e.HistoryVisibility()
	}
	if e, err := s.holder(st, s.member); err != nil {
		return g, err
	} else if e != nil {
		g.membership = e.Membership()
	}
	s.memo[snap] = g
	return g, nil
}

func (s *sight) holder(st *state.State, tuple int64) (*Event, error) {
	nid, ok := st.Event(tuple)
	if tuple == 0 || !ok {
		return nil, nil
	}
	return s.r.event(s.tx, nid)
}
