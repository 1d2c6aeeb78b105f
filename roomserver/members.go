package roomserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
)

// moved is a change of somebody's membership, by an event or by a resolution of the state that it made.
type moved struct {
	by      *staged // what made the change
	room    RoomNID
	user    matrix.UserID
	event   *Event // the member event that holds now, or the last that did
	was, is matrix.Membership
	told    []byte // the stripped state for an invited or knocking user of ours
	began   int64  // where the membership began, 0 if it was so before the batch
}

// noteMoves notes what an event does to the memberships of the room, whose state before and after it is
// given, and keeps the room's counts. Mostly the event is the only difference between these states.
func (b *batch) noteMoves(h *head, s *staged, next *state.State) error {
	if s.entry != nil {
		return s.entry.noteMoves(b, h, s, next)
	}
	if next == h.state {
		return nil
	}
	if nid, _ := next.Event(s.Tuple); nid == s.NID && slices.Equal(h.extremities, s.PrevNIDs) {
		old, _ := h.state.Event(s.Tuple)
		return b.noteMove(h, s, old, s.NID)
	}
	changes := state.Diff(h.state, next)
	tuples := make([]int64, len(changes))
	for i, c := range changes {
		tuples[i] = c.Tuple
	}
	keys, err := b.r.states.Keys(b.tx, tuples)
	if err != nil {
		return err
	}
	members := slices.DeleteFunc(changes, func(c state.Difference) bool { return keys[c.Tuple].Type != "m.room.member" })
	if err := b.loadSides(members); err != nil {
		return err
	}
	for _, c := range members {
		if err := b.noteMove(h, s, c.Old, c.New); err != nil {
			return err
		}
	}
	return nil
}

// loadSides loads the events between which the places of a state change, all together where they are many.
func (b *batch) loadSides(changes []state.Difference) error {
	var nids []int64
	for _, c := range changes {
		for _, nid := range []int64{c.Old, c.New} {
			if nid != 0 && b.byNID[nid] == nil {
				nids = append(nids, nid)
			}
		}
	}
	if len(nids) < 3 {
		return nil
	}
	found, err := b.held(nids)
	if err != nil {
		return fmt.Errorf("load %d changed memberships: %w", len(changes), err)
	}
	if b.before.events == nil {
		b.before.events = make(map[int64]*Event, len(found))
	}
	maps.Copy(b.before.events, found)
	return nil
}

// noteMove notes that a place in the state, which may be that of a member, goes from one event to
// another; 0 is none.
func (b *batch) noteMove(h *head, by *staged, old, young int64) error {
	m := &moved{by: by, room: h.nid, was: matrix.Leave, is: matrix.Leave}
	for _, side := range []struct {
		nid int64
		is  *matrix.Membership
	}{{old, &m.was}, {young, &m.is}} {
		if side.nid == 0 {
			continue
		}
		e, err := b.event(side.nid)
		if err != nil {
			return err
		}
		if e.Type() != "m.room.member" {
			return nil
		}
		m.event, *side.is = e, e.Membership()
	}
	user, _ := m.event.StateKey()
	if !storable(user) { // no user can have such an id
		return nil
	}
	m.user = matrix.UserID(user)
	h.joined += count(m.is == matrix.Join) - count(m.was == matrix.Join)
	h.invited += count(m.is == matrix.Invite) - count(m.was == matrix.Invite)
	if (m.is == matrix.Invite || m.is == matrix.Knock) && b.r.ours(m.user) {
		var err error
		if m.told, err = b.strippedState(h, m.event); err != nil {
			return err
		}
	}
	b.moved = append(b.moved, m)
	return nil
}

func count(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// strippedTypes are the state events that someone who is not in a room is told of it.
//
// Spec: CS "Stripped state".
func strippedTypes() []string {
	return []string{
		"m.room.create", "m.room.name", "m.room.avatar", "m.room.topic", "m.room.join_rules",
		"m.room.canonical_alias", "m.room.encryption",
	}
}

// Stripped is a state event as those see it who are not in the room.
type Stripped struct {
	Content  json.RawMessage `json:"content"`
	Sender   matrix.UserID   `json:"sender"`
	StateKey string          `json:"state_key"`
	Type     string          `json:"type"`

	Time    int64          `json:"origin_server_ts,omitempty"` // of the create event, MSC4311
	EventID matrix.EventID `json:"event_id,omitempty"`         // of an event that stands for a timeline
}

// presentedBy names the state that presents a room: what it is, and who speaks for it.
func presentedBy(speaker matrix.UserID) []rules.StateKey {
	var keys []rules.StateKey
	for _, tp := range strippedTypes() {
		keys = append(keys, rules.StateKey{Type: tp})
	}
	return append(keys, rules.StateKey{Type: "m.room.member", Key: string(speaker)})
}

// Strip gives events as those see them who are not in the room: a JSON list.
func Strip(events []*rules.Event) ([]byte, error) {
	list := []Stripped{}
	for _, e := range events {
		if key, ok := e.StateKey(); ok {
			s := Stripped{Content: e.Content(), Sender: e.Sender(), StateKey: key, Type: e.Type()}
			if e.IsState("m.room.create", "") {
				s.Time = e.OriginServerTS()
			}
			list = append(list, s)
		}
	}
	out, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("write stripped state: %w", err)
	}
	return out, nil
}

// strippedState is the JSON list that a user is told with an invite or a knock: what the room is, who
// invites, and the membership itself.
func (b *batch) strippedState(h *head, member *Event) ([]byte, error) {
	told, err := b.presented(h, member.Sender())
	if err != nil {
		return nil, err
	}
	about, _ := member.StateKey()
	told = slices.DeleteFunc(told, func(e *rules.Event) bool { return e.IsState("m.room.member", about) })
	return Strip(append(told, member.Event))
}

// memberRows sums up the changes of memberships: one for each room and user, by the last one.
func (b *batch) memberRows() []*moved {
	type key struct {
		room RoomNID
		user matrix.UserID
	}
	var rows []*moved
	seen := make(map[key]int)
	for _, m := range b.moved {
		k := key{m.room, m.user}
		i, ok := seen[k]
		if !ok {
			i = len(rows)
			seen[k] = i
			rows = append(rows, m)
		}
		m.began = rows[i].began
		if m.was != m.is {
			m.began = m.by.pos
		}
		rows[i] = m
	}
	return rows
}
