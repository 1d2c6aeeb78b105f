package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// serverSight is what another server may see of a room, remembered by state.
type serverSight struct {
	r      *Rooms
	tx     *store.Tx
	room   RoomNID
	server matrix.ServerName
	memo   map[int64]bool
	users  []matrix.UserID // of the server, that are or were in the room
	known  bool            // users were read

	erasure *erasure // nil: not asked for yet
}

func (r *Rooms) serverSight(tx *store.Tx, h Head, server matrix.ServerName) *serverSight {
	return &serverSight{r: r, tx: tx, room: h.Room, server: server, memo: make(map[int64]bool)}
}

// show gives an event as the server may see it.
//
// Spec: SS "Backfilling and retrieving missing events".
func (s *serverSight) show(e *Event) (*rules.Event, error) {
	seen, err := s.sees(e)
	if err != nil {
		return nil, err
	}
	if !seen {
		return e.Redact(), nil
	}
	return e.asTold(), nil
}

// sees says whether the server may see an event in full.
func (s *serverSight) sees(e *Event) (bool, error) {
	if e.Tuple != 0 && e.Status == statusOutlier {
		return true, nil
	}
	if erased, err := s.erases(e); err != nil || erased {
		return false, err
	}
	snap := e.SnapAfter
	if snap == 0 {
		snap = e.SnapBefore
	}
	visible, ok := s.memo[snap]
	if !ok {
		var err error
		if visible, err = s.visible(snap); err != nil {
			return false, err
		}
		s.memo[snap] = visible
	}
	if !visible {
		return s.r.sticks(s.tx, e) // to whoever is in the room, as the server is
	}
	return true, nil
}

func (s *serverSight) visible(snap int64) (bool, error) {
	st, err := s.r.states.Load(s.tx, snap)
	if err != nil {
		return false, err
	}
	look := rules.ServerSight{}
	hv, err := s.r.StateEvent(s.tx, st, "m.room.history_visibility", "")
	if err != nil {
		return false, err
	}
	if hv != nil {
		look.History = hv.HistoryVisibility()
	}
	if look.History == rules.Invited || look.History == rules.Joined {
		if look.Joined, look.Invited, err = s.memberships(st); err != nil {
			return false, err
		}
	}
	return rules.VisibleToServer(&look), nil
}

// memberships says whether any user of the server is joined, or invited, in a state.
func (s *serverSight) memberships(st *state.State) (joined, invited bool, err error) {
	if !s.known {
		if s.users, err = usersOf(s.tx, s.room, s.server); err != nil {
			return false, false, err
		}
		s.known = true
	}
	for _, u := range s.users {
		e, err := s.r.StateEvent(s.tx, st, "m.room.member", string(u))
		if err != nil {
			return false, false, err
		}
		if e == nil {
			continue
		}
		switch e.Membership() {
		case matrix.Join:
			return true, invited, nil
		case matrix.Invite:
			invited = true
		}
	}
	return false, invited, nil
}
