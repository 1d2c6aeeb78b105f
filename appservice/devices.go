package appservice

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// crowdMost bounds the members of a room who are named when the first user of a service enters it, or the last one leaves.
const crowdMost = 1000

// deviceNews is what a service that encrypts is told besides: in transactions what clients are told by /sync.
//
// Spec: MSC3202, MSC4203.
type deviceNews struct {
	messages []json.RawMessage
	lists    deviceLists
	counts   map[matrix.UserID]map[matrix.DeviceID]map[string]int64
	fallback map[matrix.UserID]map[matrix.DeviceID][]string
	taken    []e2ee.DeviceMessage // the messages that are no more to be told once the service has taken them
}

// deviceLists are whose devices are to be looked at again, and whose need no more be followed.
type deviceLists struct {
	Changed []matrix.UserID `json:"changed,omitempty"`
	Left    []matrix.UserID `json:"left,omitempty"`
}

func (d *deviceNews) empty() bool {
	return len(d.messages) == 0 && len(d.lists.Changed) == 0 && len(d.lists.Left) == 0 && len(d.counts) == 0
}

// write adds the news to a transaction, by the names that they have before they are specified.
func (d *deviceNews) write(body map[string]any) {
	if len(d.messages) > 0 {
		body["de.sorunome.msc2409.to_device"] = d.messages
	}
	if len(d.lists.Changed) > 0 || len(d.lists.Left) > 0 {
		body["org.matrix.msc3202.device_lists"] = d.lists
	}
	if len(d.counts) > 0 {
		body["org.matrix.msc3202.device_one_time_keys_count"] = d.counts
		body["org.matrix.msc3202.device_unused_fallback_key_types"] = d.fallback
	}
}

// devices reads the news of devices from one position to another, the moves of users among them.
func (l *lane) devices(tx *store.Tx, from, upto int64, moves []move) (*deviceNews, error) {
	read, err := l.encryption.ServiceNews(tx, from, upto, l.service.ActsFor)
	if err != nil {
		return nil, err
	}
	news := new(deviceNews)
	concerned := map[matrix.UserID]bool{}
	for _, user := range read.Keys {
		concerned[user] = true
	}
	for _, m := range read.Messages {
		concerned[m.User] = true
		news.messages = append(news.messages, shownMessage(m))
		if _, exclusive := claims(l.service.users, string(m.User)); exclusive || m.User == l.service.Sender {
			news.taken = append(news.taken, m)
		}
	}
	if err := l.countKeys(tx, news, concerned); err != nil {
		return nil, err
	}
	return news, l.listMoves(tx, news, read.Changed, moves)
}

// countKeys tells what is left of the keys of users' devices.
func (l *lane) countKeys(tx *store.Tx, news *deviceNews, users map[matrix.UserID]bool) error {
	news.counts, news.fallback = map[matrix.UserID]map[matrix.DeviceID]map[string]int64{}, map[matrix.UserID]map[matrix.DeviceID][]string{}
	for user := range users {
		left, err := l.encryption.KeysLeft(tx, user)
		if err != nil {
			return err
		}
		for device, k := range left {
			if news.counts[user] == nil {
				news.counts[user], news.fallback[user] = map[matrix.DeviceID]map[string]int64{}, map[matrix.DeviceID][]string{}
			}
			news.counts[user][device] = k.Counts
			news.fallback[user][device] = append([]string{}, k.Fallback...)
		}
	}
	return nil
}

// shownMessage writes a message with whom it is for.
func shownMessage(m e2ee.DeviceMessage) json.RawMessage {
	b := append([]byte(nil), m.Message[:len(m.Message)-1]...)
	b = canonicaljson.AppendText(append(b, `,"to_device_id":`...), string(m.Device))
	b = canonicaljson.AppendText(append(b, `,"to_user_id":`...), string(m.User))
	return append(b, '}')
}

// move is a user who enters a room, or leaves it.
type move struct {
	user   matrix.UserID
	room   roomserver.RoomNID
	pos    int64
	enters bool
}

// moveOf reads an event as a move; false: it is none.
func moveOf(e *roomserver.ClientEvent, at roomserver.Passed) (move, bool) {
	key, is := e.StateKey()
	if !is || e.Type() != "m.room.member" {
		return move{}, false
	}
	m := e.Shown.Membership()
	if m == matrix.Join && e.Prev != nil && e.Prev.Membership() == matrix.Join { // a new name
		return move{}, false
	}
	return move{matrix.UserID(key), at.Room, at.Pos, m == matrix.Join}, m == matrix.Join || m == matrix.Leave || m == matrix.Ban
}

// listMoves tells whose devices the service has to look at again, and with whom its users share no room any more.
func (l *lane) listMoves(tx *store.Tx, news *deviceNews, changed []matrix.UserID, moves []move) error {
	met, parted := map[matrix.UserID]bool{}, map[matrix.UserID]bool{}
	for _, user := range changed {
		if near, err := l.near.shares(tx, user); err != nil {
			return err
		} else if near {
			met[user] = true
		}
	}
	for _, m := range moves {
		users, err := l.moved(tx, m)
		if err != nil {
			return err
		}
		for _, user := range users {
			near, err := l.near.shares(tx, user)
			switch {
			case err != nil:
				return err
			case near && m.enters:
				met[user] = true
			case !near && !m.enters:
				parted[user] = true
			}
		}
	}
	news.lists = deviceLists{slices.Sorted(maps.Keys(met)), slices.Sorted(maps.Keys(parted))}
	return nil
}

// moved are those for whom a move is news: who moves, or where that is the first or last user of the service in a room,
// the others in it.
func (l *lane) moved(tx *store.Tx, m move) ([]matrix.UserID, error) {
	if !l.service.ActsFor(m.user) {
		return []matrix.UserID{m.user}, nil
	}
	stays, err := l.rooms.LocalMembers(tx, m.room)
	if err != nil {
		return nil, fmt.Errorf("read the members of a room: %w", err)
	}
	for _, s := range stays {
		if s.User != m.user && l.service.ActsFor(s.User) && s.Joined && (!m.enters || s.Pos < m.pos) {
			return nil, nil
		}
	}
	members, err := l.rooms.Members(tx, m.room, matrix.Join, crowdMost)
	if err != nil {
		return nil, fmt.Errorf("read the members of a room: %w", err)
	}
	var others []matrix.UserID
	for _, o := range members {
		if !l.service.ActsFor(o.User) {
			others = append(others, o.User)
		}
	}
	return others, nil
}
