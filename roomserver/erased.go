package roomserver

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// erasure tells of the users of this server who left it for good and wanted what they had said to be erased. It stays as it
// was for those who were in a room with them to the end, users and servers; who comes later is shown it redacted.
//
// Spec: POST /_matrix/client/v3/account/deactivate, erase.
type erasure struct {
	r    *Rooms
	tx   *store.Tx
	room RoomNID
	now  *state.State // of the room
	// inside says whether the viewer is in the room by a state.
	inside func(snap int64) (bool, error)
	memo   map[matrix.UserID]bool
}

// takes says whether the viewer is shown an event redacted. The state of a room stays what it is, but for the names of
// its members.
func (x *erasure) takes(e *Event) (bool, error) {
	sender := e.Sender()
	if _, isState := e.StateKey(); isState && e.Type() != "m.room.member" || !x.r.ours(sender) || x.r.erased == nil {
		return false, nil
	}
	if erased, known := x.memo[sender]; known {
		return erased, nil
	}
	erased, err := x.before(sender)
	if err != nil {
		return false, fmt.Errorf("look whether %s is erased: %w", sender, err)
	}
	if x.memo == nil {
		x.memo = make(map[matrix.UserID]bool)
	}
	x.memo[sender] = erased
	return erased, nil
}

// before says whether a user was erased before the viewer came. Whose account ends leaves all rooms; most people whose
// messages are read are still there, so it is seen first who is.
func (x *erasure) before(sender matrix.UserID) (bool, error) {
	if x.now == nil {
		heads, err := x.r.Heads(x.tx, []RoomNID{x.room})
		if err != nil {
			return false, err
		}
		if x.now, err = x.r.states.Load(x.tx, heads[x.room].Snap); err != nil {
			return false, err
		}
	}
	left, err := x.r.StateEvent(x.tx, x.now, "m.room.member", string(sender))
	if err != nil || left == nil || left.Membership() != matrix.Leave && left.Membership() != matrix.Ban {
		return false, err
	}
	erased, err := x.r.erased(x.tx, sender)
	if err != nil || !erased {
		return false, err
	}
	inside, err := x.inside(left.SnapBefore)
	return !inside, err
}

// erases says whether an event that was sent before the user came is shown them redacted.
func (s *sight) erases(e *Event, membership matrix.Membership) (bool, error) {
	if membership == matrix.Join {
		return false, nil
	}
	if s.erasure == nil {
		s.erasure = &erasure{r: s.r, tx: s.tx, room: s.room, inside: func(snap int64) (bool, error) {
			g, err := s.at(snap)
			return g.membership == matrix.Join, err
		}}
	}
	return s.erasure.takes(e)
}

// erases says whether the server gets an event redacted as it came to the room too late.
func (s *serverSight) erases(e *Event) (bool, error) {
	if s.erasure == nil {
		s.erasure = &erasure{r: s.r, tx: s.tx, room: s.room, inside: func(snap int64) (bool, error) {
			st, err := s.r.states.Load(s.tx, snap)
			if err != nil {
				return false, err
			}
			joined, _, err := s.memberships(st)
			return joined, err
		}}
	}
	return s.erasure.takes(e)
}
