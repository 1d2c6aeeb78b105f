package appservice

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// transaction is what a service is told at a time.
type transaction struct {
	events    []any
	ephemeral []ephemeralEvent
	devices   *deviceNews // nil: the service does not encrypt
}

// ephemeralEvent is an event that is in no timeline.
//
// Spec: AS "Pushing ephemeral data".
type ephemeralEvent struct {
	Type    string        `json:"type"`
	RoomID  matrix.RoomID `json:"room_id,omitempty"`
	Sender  matrix.UserID `json:"sender,omitempty"`
	Content any           `json:"content"`
}

func (t *transaction) empty() bool {
	return len(t.events) == 0 && len(t.ephemeral) == 0 && (t.devices == nil || t.devices.empty())
}

// write writes the transaction, in the words of the specification, of the proposal before it, or of both, as the
// registration asks.
func (t *transaction) write(service *Service) ([]byte, error) {
	body := map[string]any{"events": t.events}
	if t.events == nil {
		body["events"] = []any{}
	}
	if len(t.ephemeral) > 0 && service.Ephemeral {
		body["ephemeral"] = t.ephemeral
	}
	if len(t.ephemeral) > 0 && service.EarlyEphemeral {
		body["de.sorunome.msc2409.ephemeral"] = t.ephemeral
	}
	if t.devices != nil {
		t.devices.write(body)
	}
	return json.Marshal(body)
}

// concerning reads what concerns the service at some positions, in the order of the stream.
func (l *lane) concerning(ctx context.Context, passed []roomserver.Passed) (news *transaction, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		news = new(transaction)
		look := newInterest(tx, l.rooms, l.service)
		from, upto := passed[0].Pos, passed[len(passed)-1].Pos
		var moves []move
		if news.events, moves, err = l.events(look, passed); err != nil {
			return err
		}
		if l.service.ephemeral() {
			if news.ephemeral, err = l.receipts(look, from, upto); err != nil {
				return err
			}
		}
		if l.service.Encrypts {
			news.devices, err = l.devices(tx, from, upto, moves)
		}
		return err
	})
	return news, err
}

// events shows the events that concern the service, and tells who enters and leaves rooms by them.
func (l *lane) events(look *interest, passed []roomserver.Passed) (all []any, moves []move, err error) {
	nids, places := make([]int64, 0, len(passed)), make(map[int64]roomserver.Passed, len(passed))
	for _, e := range passed {
		if e.NID != 0 {
			nids = append(nids, e.NID)
			places[e.NID] = e
		}
	}
	shown, err := l.rooms.RenderState(look.tx, roomserver.Viewer{}, nids)
	if err != nil {
		return nil, nil, err
	}
	news, err := readOutside(look.tx, l.service.ID, passed[0].Pos, passed[len(passed)-1].Pos)
	if err != nil {
		return nil, nil, fmt.Errorf("read memberships elsewhere: %w", err)
	}
	for _, e := range shown {
		at := places[e.NID]
		if l.service.moves(e) {
			l.near.forget(at.Room)
		}
		concerned, err := look.in(e, at)
		if err != nil {
			return nil, nil, err
		}
		if !concerned {
			continue
		}
		news = append(news, told{at.Pos, e})
		if m, is := moveOf(e, at); is && l.service.Encrypts {
			moves = append(moves, m)
		}
	}
	slices.SortFunc(news, func(a, b told) int { return cmp.Compare(a.pos, b.pos) })
	all = make([]any, len(news))
	for i, t := range news {
		all[i] = t.event
	}
	return all, moves, nil
}

// receipts reads the receipts from one position to another of which the service is told. Private ones are its own users'.
func (l *lane) receipts(look *interest, from, upto int64) ([]ephemeralEvent, error) {
	read, err := l.ephemeral.ReceiptsBetween(look.tx, from, upto)
	if err != nil || len(read) == 0 {
		return nil, err
	}
	var order []roomserver.RoomNID
	rooms := map[roomserver.RoomNID][]ephemeral.Receipt{}
	for _, r := range read {
		if rooms[r.Room] == nil {
			order = append(order, r.Room)
		}
		rooms[r.Room] = append(rooms[r.Room], r)
	}
	heads, err := l.rooms.Heads(look.tx, order)
	if err != nil {
		return nil, fmt.Errorf("read the rooms of receipts: %w", err)
	}
	var all []ephemeralEvent
	for _, nid := range order {
		if heads[nid].ID == "" { // it was purged meanwhile
			continue
		}
		var of []ephemeral.Receipt
		for _, r := range rooms[nid] {
			concerned, err := look.at(heads[nid].ID, nid, r.Pos)
			if err != nil {
				return nil, err
			}
			if own := l.service.ActsFor(r.User); own || concerned && !r.Private {
				of = append(of, r)
			}
		}
		contents, err := ephemeral.Contents(of)
		if err != nil {
			return nil, err
		}
		for _, c := range contents {
			all = append(all, ephemeralEvent{Type: "m.receipt", RoomID: heads[nid].ID, Content: c})
		}
	}
	return all, nil
}
