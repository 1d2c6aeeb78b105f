package roomserver

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Viewer is who is shown an event: what they may see, and what they are told besides, depends on it.
type Viewer struct {
	User   matrix.UserID
	Device matrix.DeviceID // for transaction ids; may be empty
}

// ClientEvent is an event as it is shown to one viewer.
type ClientEvent struct {
	*Event
	Shown      *rules.Event      // the event itself, or its redacted form
	Seq        int64             // place in the room's timeline; 0: shown as part of a state
	TxnID      string            // of the request, where the viewer's device sent it
	Prev       *Event            // the state event that it replaced
	Because    *Event            // its redaction
	Membership matrix.Membership // of the viewer when it was sent; empty: not told
	At         int64             // milliseconds: when it is shown
}

// Render shows places of a room's timeline to a viewer: those that they may see, in the same order.
func (r *Rooms) Render(tx *store.Tx, v Viewer, room RoomNID, items []Item) ([]*ClientEvent, error) {
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	events, err := r.Events(tx, nids)
	if err != nil {
		return nil, err
	}
	look, err := r.sight(tx, v.User, room)
	if err != nil {
		return nil, err
	}
	var out []*ClientEvent
	for _, it := range items {
		e, ok := events[it.NID]
		if !ok {
			return nil, fmt.Errorf("the timeline of room %d names the event %d, which is not there", room, it.NID)
		}
		seen, err := look.at(it.Snap)
		if err != nil {
			return nil, err
		}
		if seen.allows(v.User, e) {
			out = append(out, &ClientEvent{Event: e, Seq: it.Seq, Membership: seen.membership})
		}
	}
	return out, r.complete(tx, v, out)
}

// RenderState shows state events to a viewer who may read the room's state.
func (r *Rooms) RenderState(tx *store.Tx, v Viewer, nids []int64) ([]*ClientEvent, error) {
	events, err := r.Events(tx, nids)
	if err != nil {
		return nil, err
	}
	out := make([]*ClientEvent, 0, len(nids))
	for _, nid := range nids {
		if e, ok := events[nid]; ok {
			out = append(out, &ClientEvent{Event: e})
		}
	}
	return out, r.complete(tx, v, out)
}

// complete fills in what the viewer is told besides the events themselves.
func (r *Rooms) complete(tx *store.Tx, v Viewer, events []*ClientEvent) error {
	if err := r.addRelated(tx, events); err != nil {
		return err
	}
	now := r.now().UnixMilli()
	var own []int64
	for _, e := range events {
		e.At = now
		e.Shown = e.Event.Event
		if e.Because != nil {
			e.Shown = e.Event.Event.Redact()
		}
		if v.Device != "" && e.Sender() == v.User {
			own = append(own, e.NID)
		}
	}
	if len(own) == 0 {
		return nil
	}
	txns, err := r.Txns(tx, v.User, v.Device, own)
	if err != nil {
		return fmt.Errorf("read transaction ids: %w", err)
	}
	for _, e := range events {
		e.TxnID = txns[e.NID]
	}
	return nil
}

// addRelated finds the events that others refer to in their unsigned part: the state event that was
// replaced, and the redaction.
func (r *Rooms) addRelated(tx *store.Tx, events []*ClientEvent) error {
	replaced := make(map[*ClientEvent]int64)
	var wanted []int64
	for _, e := range events {
		if e.RedactedBy != 0 {
			wanted = append(wanted, e.RedactedBy)
		}
		if e.Tuple == 0 || e.SnapBefore == 0 {
			continue
		}
		before, err := r.states.Load(tx, e.SnapBefore)
		if err != nil {
			return err
		}
		if nid, ok := before.Event(e.Tuple); ok {
			replaced[e] = nid
			wanted = append(wanted, nid)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	related, err := r.Events(tx, wanted)
	if err != nil {
		return err
	}
	for _, e := range events {
		e.Because = related[e.RedactedBy]
		e.Prev = related[replaced[e]]
	}
	return nil
}

// sight is what one user may see of one room, remembered by state.
type sight struct {
	r       *Rooms
	tx      *store.Tx
	room    RoomNID
	now     matrix.Membership // the user's present membership
	history int64             // tuples; 0: no event ever had it
	member  int64
	memo    map[int64]glance
}

// glance is what decides about the events at one state.
type glance struct {
	history    string
	membership matrix.Membership
	now        matrix.Membership
}

func (r *Rooms) sight(tx *store.Tx, user matrix.UserID, room RoomNID) (*sight, error) {
	s := &sight{r: r, tx: tx, room: room, now: matrix.Leave, memo: make(map[int64]glance)}
	ur, ok, err := r.UserRoom(tx, user, room)
	if err != nil {
		return nil, fmt.Errorf("read the membership of %s: %w", user, err)
	}
	if ok {
		s.now = ur.Membership
	}
	if s.history, _, err = r.Tuple(tx, "m.room.history_visibility", ""); err != nil {
		return nil, err
	}
	s.member, _, err = r.Tuple(tx, "m.room.member", string(user))
	return s, err
}

// at looks at a state: the room's once an event was there.
func (s *sight) at(snap int64) (glance, error) {
	if g, ok := s.memo[snap]; ok {
		return g, nil
	}
	g := glance{history: "shared", membership: matrix.Leave, now: s.now}
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
