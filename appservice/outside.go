package appservice

import (
	"encoding/json"
	"fmt"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// outsideEvent is a membership that no timeline tells of, as a service is told it.
type outsideEvent struct {
	Content  json.RawMessage `json:"content"`
	EventID  matrix.EventID  `json:"event_id"`
	RoomID   matrix.RoomID   `json:"room_id"`
	Sender   matrix.UserID   `json:"sender"`
	StateKey string          `json:"state_key"`
	Time     int64           `json:"origin_server_ts"`
	Type     string          `json:"type"`
	Unsigned *presentedRoom  `json:"unsigned,omitempty"`
}

// presentedRoom is what is told of a room with an invite or a knock.
type presentedRoom struct {
	Invite []roomserver.Stripped `json:"invite_room_state,omitempty"`
	Knock  []roomserver.Stripped `json:"knock_room_state,omitempty"`
}

// Outside keeps, for the services that it concerns, a membership in a room that this server is not in, in the
// transaction that makes it so. They are told it among the events of the stream, at its position.
func (s *Services) Outside(tx *store.Tx, at roomserver.Passed, o *roomserver.Outside) error {
	for _, service := range s.all {
		named, _ := claims(service.rooms, string(o.Room))
		if service.URL == "" || !named && !service.ActsFor(o.User) && !service.ActsFor(o.Sender) {
			continue
		}
		event, err := shownOutside(o)
		if err != nil {
			return err
		}
		if err := keepOutside(tx, service.ID, at.Pos, event); err != nil {
			return fmt.Errorf("keep a membership for %s: %w", service.ID, err)
		}
		tx.Announce(bus.Change{Kind: bus.Outside, Pos: at.Pos})
	}
	return nil
}

// shownOutside writes the event of a membership: the last of what the user is told.
func shownOutside(o *roomserver.Outside) ([]byte, error) {
	var told []roomserver.Stripped
	if err := json.Unmarshal(o.Stripped, &told); err != nil || len(told) == 0 {
		return nil, fmt.Errorf("the %s of %s in %s tells of no event: %w", o.Membership, o.User, o.Room, err)
	}
	own, state := told[len(told)-1], told[:len(told)-1]
	e := outsideEvent{
		Content: own.Content, EventID: own.EventID, RoomID: o.Room, Sender: own.Sender, StateKey: own.StateKey, Time: own.Time, Type: own.Type,
	}
	if o.Event != "" {
		e.EventID, e.Time = o.Event, o.Time
	}
	switch o.Membership {
	case matrix.Invite:
		e.Unsigned = &presentedRoom{Invite: state}
	case matrix.Knock:
		e.Unsigned = &presentedRoom{Knock: state}
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write the membership of %s: %w", o.User, err)
	}
	return raw, nil
}

// told is what a service is told at a position: an event of a timeline, or a membership that none tells of.
type told struct {
	pos   int64
	event any
}
