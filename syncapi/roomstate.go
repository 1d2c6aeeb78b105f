package syncapi

import (
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
)

// stateNews is how the state of a room changed, from what the client knows to the end of the timeline.
type stateNews struct {
	span
	t       *timeline
	old     *state.State // as the client knows it
	start   *state.State // before the timeline
	end     *state.State // behind it
	changes []state.Difference
	keys    map[int64]rules.StateKey
	own     bool            // tell the user's own member event
	heroes  []matrix.UserID // whose member events the client needs for the room's name
}

// openState loads the states at both ends of a timeline, and tells how they differ.
func (r *reading) openState(sp span, t *timeline) (*stateNews, error) {
	s := &stateNews{span: sp, t: t}
	for _, load := range []struct {
		into **state.State
		snap int64
	}{{&s.old, t.old}, {&s.start, t.start}, {&s.end, t.end}} {
		var err error
		if *load.into, err = r.a.rooms.State(r.tx, load.snap); err != nil {
			return nil, fmt.Errorf("load state %d: %w", load.snap, err)
		}
	}
	s.changes = state.Diff(s.old, s.end)
	var err error
	s.keys, err = r.typesOf(s.changes)
	return s, err
}

// typesOf finds what the changed tuples stand for. Of members that is not looked up, but for their type:
// there may be very many.
func (r *reading) typesOf(changes []state.Difference) (map[int64]rules.StateKey, error) {
	var tuples, members []int64
	for _, c := range changes {
		if state.IsMember(c.Tuple) {
			members = append(members, c.Tuple)
		} else {
			tuples = append(tuples, c.Tuple)
		}
	}
	keys, err := r.a.rooms.StateKeys(r.tx, tuples)
	for _, tuple := range members {
		keys[tuple] = rules.StateKey{Type: "m.room.member"}
	}
	return keys, err
}

// renames says whether the changes touch what the room's summary is made of.
func (s *stateNews) renames() bool {
	return slices.ContainsFunc(s.changes, func(c state.Difference) bool {
		switch s.keys[c.Tuple].Type {
		case "m.room.member", "m.room.name", "m.room.canonical_alias":
			return true
		}
		return false
	})
}

// readState chooses and reads the state events to be told.
func (r *reading) readState(s *stateNews) ([]*roomserver.ClientEvent, error) {
	nids := r.changedState(s)
	if r.sentTo != nil {
		var err error
		if nids, err = r.addMembers(s, nids); err != nil {
			return nil, err
		}
	}
	slices.Sort(nids)
	nids = slices.Compact(nids)
	known, err := r.eventsOf(s.room, nids)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	events, err := r.a.rooms.RenderStateEvents(r.tx, r.viewer, nids, known)
	if err != nil {
		return nil, fmt.Errorf("show state: %w", err)
	}
	events = slices.DeleteFunc(events, func(e *roomserver.ClientEvent) bool { return !r.filter.stateEvent(e) })
	if r.sentTo != nil {
		r.noteTold(s, events)
	}
	return events, nil
}

// changedState gives the events that bring the client's state up to date. Where it applies the timeline
// to the state at its start, a tuple that the timeline sets is told as it was before, and every other as
// it is in the end: so changes are told too that no event of the timeline shows, because a resolution of
// the state made them or because the filter or the user's sight leaves them out.
func (r *reading) changedState(s *stateNews) []int64 {
	lazy := r.sentTo != nil && s.fresh
	var nids []int64
	for _, c := range s.changes {
		if lazy && s.keys[c.Tuple].Type == "m.room.member" {
			continue
		}
		event := c.New
		if r.after == stateAtStart && s.t.touched[c.Tuple] {
			event, _ = s.start.Event(c.Tuple)
			if event == c.Old {
				continue
			}
		}
		if event != 0 {
			nids = append(nids, event)
		}
	}
	if r.after == stateAtStart {
		nids = append(nids, s.changedBack(lazy)...)
	}
	return nids
}

// changedBack finds tuples that differ at the start of the timeline, but are in the end as the client
// knows them.
func (s *stateNews) changedBack(lazy bool) []int64 {
	var nids []int64
	for tuple := range s.t.touched {
		was, _ := s.old.Event(tuple)
		began, _ := s.start.Event(tuple)
		ends, _ := s.end.Event(tuple)
		if began != was && ends == was && began != 0 && !lazy {
			nids = append(nids, began)
		}
	}
	return nids
}

// addMembers adds the member events that the client needs to show what it is told: of the timeline's
// senders, of the heroes and of the user.
//
// Spec: CS "Lazy-loading room members".
func (r *reading) addMembers(s *stateNews, nids []int64) ([]int64, error) {
	need := make(map[matrix.UserID]bool)
	for _, e := range s.t.events {
		need[e.Sender()] = true
	}
	for _, u := range s.heroes {
		need[u] = true
	}
	if s.own {
		need[r.viewer.User] = true
	}
	st := s.start
	if r.after != stateAtStart {
		st = s.end
	}
	for user := range need {
		tuple, ok, err := r.a.rooms.Tuple(r.tx, "m.room.member", string(user))
		if err != nil {
			return nil, fmt.Errorf("find the member %s: %w", user, err)
		}
		if !ok {
			continue
		}
		nid, ok := st.Event(tuple)
		if ok && (s.fresh || r.filter.redundant() || !r.sentTo.has(s.room, tuple, nid)) {
			nids = append(nids, nid)
		}
	}
	return nids, nil
}

// noteTold remembers the member events that this answer tells, in its state and its timeline.
func (r *reading) noteTold(s *stateNews, told []*roomserver.ClientEvent) {
	if s.fresh {
		r.told.of(s.room).fresh = true
	}
	for _, list := range [][]*roomserver.ClientEvent{told, s.t.events} {
		for _, e := range list {
			if e.Tuple != 0 && e.Type() == "m.room.member" {
				r.told.of(s.room).members[e.Tuple] = e.NID
			}
		}
	}
}
