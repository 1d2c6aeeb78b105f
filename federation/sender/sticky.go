package sender

import (
	"fmt"

	"astrocyte/roomserver"
	"astrocyte/store"
)

// everything is before every position.
const everything = -1

// greetSticky has a server that comes into a room by an event brought the sticky events that are there already: those
// of users of ours.
//
// Spec: MSC4354.
func (s *Sender) greetSticky(tx *store.Tx, found marks, at roomserver.Passed, stays []roomserver.ServerStay) error {
	for _, stay := range stays {
		if stay.Since != at.Pos || stay.Server == s.rooms.Server() || !s.admits(stay.Server) {
			continue
		}
		items, err := s.ownSticky(tx, at.Room, at.Pos)
		if err != nil {
			return err
		}
		for _, it := range items {
			found.add(stayKey{stay.Server, at.Room, stay.Since}, it.Seq)
		}
	}
	return nil
}

// ownSticky gives the sticky events of users of ours in a room, up to a position.
func (s *Sender) ownSticky(tx *store.Tx, room roomserver.RoomNID, upto int64) ([]roomserver.Item, error) {
	items, err := s.rooms.Sticky(tx, room, everything, upto)
	if len(items) == 0 || err != nil {
		return nil, err
	}
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	events, err := s.rooms.Events(tx, nids)
	if err != nil {
		return nil, fmt.Errorf("read sticky events: %w", err)
	}
	var own []roomserver.Item
	for _, it := range items {
		if e := events[it.NID]; e != nil && e.RedactedBy == 0 && e.Sender().Server() == s.rooms.Server() {
			own = append(own, it)
		}
	}
	return own, nil
}

// items are the places of a stretch that a server is brought. Where it has missed too many it is brought the sticky ones
// and the newest; of those before it came into the room the sticky ones.
func (s *Sender) items(tx *store.Tx, w waiting) ([]roomserver.Item, error) {
	items, err := s.rooms.After(tx, w.room, w.from-1, maxStretch+1)
	if err != nil {
		return nil, err
	}
	long := len(items) > maxStretch && items[maxStretch].Seq <= w.upto
	early := len(items) > 0 && items[0].Pos < w.since
	if !long && !early {
		return items, nil
	}
	own, err := s.ownSticky(tx, w.room, 1<<62)
	if err != nil {
		return nil, err
	}
	sticky := make(map[int64]bool, len(own))
	for _, it := range own {
		sticky[it.Seq] = true
	}
	if !long {
		kept := items[:0]
		for _, it := range items {
			if it.Pos >= w.since || sticky[it.Seq] {
				kept = append(kept, it)
			}
		}
		return kept, nil
	}
	newest, err := s.rooms.After(tx, w.room, w.upto-1, 1)
	if err != nil {
		return nil, err
	}
	var kept []roomserver.Item
	for _, it := range own {
		if it.Seq >= w.from && it.Seq < w.upto {
			kept = append(kept, it)
		}
	}
	return append(kept, newest...), nil
}
