package syncapi

import (
	"encoding/json"
	"fmt"

	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// readEphemeral reads receipts and typing that are new in the joined rooms.
func (r *reading) readEphemeral(rooms []joinedRoom) (map[roomserver.RoomNID][]ephemeralEvent, error) {
	out := make(map[roomserver.RoomNID][]ephemeralEvent)
	if err := r.readReceipts(out, rooms, r.from()); err != nil {
		return nil, err
	}
	return out, r.readTyping(out, rooms)
}

// readReceipts adds the receipts of rooms that came after a position.
func (r *reading) readReceipts(out map[roomserver.RoomNID][]ephemeralEvent, rooms []joinedRoom, since int64) error {
	nids := make([]roomserver.RoomNID, 0, len(rooms))
	for _, j := range rooms {
		if r.filter.wantsEphemeral(j.ID, "m.receipt") {
			nids = append(nids, j.Room)
		}
	}
	receipts, err := r.a.ephemeral.ReceiptsSince(r.tx, nids, since, r.upto, r.viewer.User)
	if err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	for len(receipts) > 0 {
		n := 1
		for n < len(receipts) && receipts[n].Room == receipts[0].Room {
			n++
		}
		contents, err := ephemeral.Contents(receipts[:n])
		if err != nil {
			return err
		}
		for _, c := range contents {
			out[receipts[0].Room] = append(out[receipts[0].Room], ephemeralEvent{"m.receipt", c})
		}
		receipts = receipts[n:]
	}
	return nil
}

// readTyping adds who types in the rooms of which that changed.
func (r *reading) readTyping(out map[roomserver.RoomNID][]ephemeralEvent, rooms []joinedRoom) error {
	var nids map[matrix.RoomID]roomserver.RoomNID // made when the first room is asked about
	wanted := func(room matrix.RoomID) bool {
		if nids == nil {
			nids = make(map[matrix.RoomID]roomserver.RoomNID, len(rooms))
			for _, j := range rooms {
				nids[j.ID] = j.Room
			}
		}
		_, in := nids[room]
		return in && r.filter.wantsEphemeral(room, "m.typing")
	}
	typing, mark := r.a.ephemeral.TypingSince(wanted, ephemeral.TypingMark{Epoch: r.since.Epoch, Serial: r.since.Typing})
	r.out.next.Epoch, r.out.next.Typing = mark.Epoch, mark.Serial
	for room, users := range typing {
		e, err := typingEvent(users)
		if err != nil {
			return err
		}
		out[nids[room]] = append(out[nids[room]], e)
	}
	return nil
}

func typingEvent(users []matrix.UserID) (ephemeralEvent, error) {
	content, err := json.Marshal(map[string][]matrix.UserID{"user_ids": users})
	if err != nil {
		return ephemeralEvent{}, fmt.Errorf("write who types: %w", err)
	}
	return ephemeralEvent{"m.typing", content}, nil
}

// allEphemeral reads all receipts and typing of a room that is new to the client.
func (r *reading) allEphemeral(j joinedRoom) ([]ephemeralEvent, error) {
	out := make(map[roomserver.RoomNID][]ephemeralEvent)
	if err := r.readReceipts(out, []joinedRoom{j}, 0); err != nil {
		return nil, err
	}
	events := out[j.Room]
	if users := r.a.ephemeral.TypingIn(j.ID); len(users) > 0 && r.filter.wantsEphemeral(j.ID, "m.typing") {
		e, err := typingEvent(users)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
