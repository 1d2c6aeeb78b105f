package inbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// judged is an event that is good as far as can be said without its room.
type judged struct {
	ev   *rules.Event
	room roomserver.RoomNID
	came int64
}

// judge reads and verifies the events of a transaction. Those that are not good have an error among the results, if
// they can be named at all.
//
// Spec: SS "Checks performed on receipt of a PDU", 1 to 3; CS "Server Access Control Lists (ACLs) for rooms".
func (i *Inbound) judge(ctx context.Context, t Transaction) ([]*judged, Results, error) {
	results := make(Results, len(t.PDUs))
	names := i.roomsOf(t)
	doors, err := i.rooms.Doors(ctx, names, t.Origin)
	if err != nil {
		return nil, nil, fmt.Errorf("find the rooms of a transaction: %w", err)
	}
	var good []*judged
	var events []*rules.Event
	for n, raw := range t.PDUs {
		name := names[n]
		if name == "" {
			continue
		}
		at, here := doors[name]
		if !here {
			if err := i.foreign(ctx, t, name, raw); err != nil {
				return nil, nil, err
			}
			continue
		}
		ev, err := rules.Read(at.Version, raw)
		switch {
		case err != nil:
			i.refuse(t, "", err)
		case at.Closed != "":
			results[ev.ID()] = Result{at.Closed}
			i.refuse(t, ev.ID(), errors.New(at.Closed))
		case ev.RoomID() != name:
			results[ev.ID()] = Result{"the event is of another room"}
		default:
			results[ev.ID()] = Result{}
			good, events = append(good, &judged{ev: ev, room: at.Room}), append(events, ev)
		}
	}
	if len(good) == 0 {
		return nil, results, nil
	}
	return i.verify(ctx, t, good, events, results), results, nil
}

// verify leaves out the events whose signatures are wrong. Where the hash of the content is, the event is what is
// left of it when it is redacted.
func (i *Inbound) verify(ctx context.Context, t Transaction, all []*judged, events []*rules.Event, results Results) []*judged {
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	var good []*judged
	seen := make(map[matrix.EventID]bool)
	for n, v := range i.keys.VerifyEvents(ctx, events) {
		switch {
		case v.Err != nil:
			results[events[n].ID()] = Result{v.Err.Error()}
			i.refuse(t, events[n].ID(), v.Err)
		case !seen[v.Event.ID()]:
			seen[v.Event.ID()] = true
			all[n].ev = v.Event
			good = append(good, all[n])
		}
	}
	return good
}

func (i *Inbound) refuse(t Transaction, id matrix.EventID, err error) {
	refused.WithLabelValues("pdu").Inc()
	i.log.Info("an event of another server is not taken", "origin", t.Origin, "event", id, "error", err)
}

// roomsOf names the rooms of the events of a transaction, one by one. Where an event names none, that is empty.
func (i *Inbound) roomsOf(t Transaction) []matrix.RoomID {
	names := make([]matrix.RoomID, len(t.PDUs))
	for n, raw := range t.PDUs {
		id, _ := canonicaljson.Field(raw, "room_id")
		name, is := canonicaljson.Text(id)
		if !is || name == "" {
			i.refuse(t, "", errors.New("an event without a room"))
			continue
		}
		names[n] = matrix.RoomID(name)
	}
	return names
}

// foreign takes an event of a room that this server is not in: the end of an invite or a knock of a user of ours.
// All others are not for us.
func (i *Inbound) foreign(ctx context.Context, t Transaction, room matrix.RoomID, raw json.RawMessage) error {
	key, _ := canonicaljson.Field(raw, "state_key")
	user, _ := canonicaljson.Text(key)
	was, found, err := i.rooms.FindOutside(ctx, matrix.UserID(user), room)
	if err != nil {
		return err
	}
	v, known := rules.ByID(was.Version)
	if !found || !known {
		i.refuse(t, "", fmt.Errorf("this server is not in the room %s", room))
		return nil
	}
	ev, err := rules.Read(v, raw)
	if err == nil {
		verified := i.keys.VerifyEvents(ctx, []*rules.Event{ev})[0]
		ev, err = verified.Event, verified.Err
	}
	if err == nil {
		err = i.rooms.Rescind(ctx, t.Origin, ev)
	}
	var own *matrix.Error
	var malformed *rules.Malformed
	if err == nil || !errors.As(err, &own) && !errors.As(err, &malformed) && !errors.Is(err, rules.ErrSignature) {
		return err
	}
	i.refuse(t, "", err)
	return nil
}
