package roomserver

import (
	"fmt"

	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// facts are what lists of rooms are filtered by, kept beside the room's head.
type facts struct {
	kind      string // type in the create event
	encrypted int64  // 1: encryption is on; -1: this and kind are not known
}

// Listing is what lists of rooms are sorted and filtered by.
type Listing struct {
	Room      RoomNID
	Pos       int64  // of the newest event
	Bump      int64  // position of the newest event that people care about
	Kind      string // of the room: the type in its create event
	Encrypted bool
	snap      int64
	known     bool // kind and encrypted are
}

// bumpsRoom says whether an event of a type is what people care about.
//
// Spec: MSC4186 (bump_stamp).
func bumpsRoom(tp string) bool {
	switch tp {
	case "m.room.create", "m.room.message", "m.room.encrypted", "m.sticker", "m.call.invite", "m.poll.start", "m.beacon_info",
		"org.matrix.msc3381.poll.start", "org.matrix.msc3672.beacon_info":
		return true
	}
	return false
}

// factsOf tells the facts of a room as it is after the batch.
func (b *batch) factsOf(h *head) (facts, error) {
	return factsIn(h.facts, h.fresh, func(key rules.StateKey) (*Event, error) { return b.stateEvent(h, key) })
}

func factsIn(f facts, fresh bool, find func(rules.StateKey) (*Event, error)) (facts, error) {
	if fresh || f.encrypted < 0 {
		create, err := find(rules.StateKey{Type: "m.room.create"})
		if err != nil {
			return f, fmt.Errorf("find the create event: %w", err)
		}
		if create != nil {
			value, _ := canonicaljson.Field(create.Content(), "type")
			f.kind, _ = canonicaljson.Text(value)
		}
	}
	encryption, err := find(rules.StateKey{Type: "m.room.encryption"})
	if err != nil {
		return f, fmt.Errorf("find out whether the room is encrypted: %w", err)
	}
	f.encrypted = count(encryption != nil)
	return f, nil
}

// Listings reads what lists of rooms are sorted and filtered by.
func (r *Rooms) Listings(tx *store.Tx, rooms []RoomNID) (map[RoomNID]Listing, error) {
	out := make(map[RoomNID]Listing, len(rooms))
	var unknown []Listing
	err := eachListing(tx, rooms, func(l Listing) {
		if l.Bump == 0 {
			l.Bump = l.Pos
		}
		if out[l.Room] = l; !l.known {
			unknown = append(unknown, l)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, l := range unknown {
		st, err := r.states.Load(tx, l.snap)
		if err != nil {
			return nil, err
		}
		f, err := factsIn(facts{encrypted: -1}, false, func(key rules.StateKey) (*Event, error) {
			return r.StateEvent(tx, st, key.Type, key.Key)
		})
		if err != nil {
			return nil, err
		}
		l.Kind, l.Encrypted = f.kind, f.encrypted == 1
		out[l.Room] = l
	}
	return out, nil
}
