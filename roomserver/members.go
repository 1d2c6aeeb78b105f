package roomserver

import (
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// noteMember notes what a state event does to the membership of the user that it is about, and keeps
// the room's counts.
func (b *batch) noteMember(h *head, s *staged, user string) error {
	if s.Type() != "m.room.member" {
		return nil
	}
	old, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: user})
	if err != nil {
		return err
	}
	s.was, s.is = matrix.Leave, s.Membership()
	if old != nil {
		s.was = old.Membership()
	}
	h.joined += count(s.is == matrix.Join) - count(s.was == matrix.Join)
	h.invited += count(s.is == matrix.Invite) - count(s.was == matrix.Invite)
	if (s.is == matrix.Invite || s.is == matrix.Knock) && b.r.ours(matrix.UserID(user)) {
		s.told, err = b.strippedState(h, s.Event)
	}
	return err
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
			list = append(list, Stripped{Content: e.Content(), Sender: e.Sender(), StateKey: key, Type: e.Type()})
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

// A memberRow is what a batch makes of one membership.
type memberRow struct {
	*staged
	user matrix.UserID
	// began is where the membership began, 0 if it was so before the batch.
	began int64
}

// memberRows sums up the staged member events: one row for each room and user, by the last event.
func (b *batch) memberRows() []*memberRow {
	type key struct {
		room RoomNID
		user matrix.UserID
	}
	var rows []*memberRow
	seen := make(map[key]*memberRow)
	for _, s := range b.staged {
		if s.is == "" {
			continue
		}
		user, _ := s.StateKey()
		k := key{s.Room, matrix.UserID(user)}
		row, ok := seen[k]
		if !ok {
			row = &memberRow{user: k.user}
			seen[k] = row
			rows = append(rows, row)
		}
		row.staged = s
		if s.was != s.is {
			row.began = s.pos
		}
	}
	return rows
}
