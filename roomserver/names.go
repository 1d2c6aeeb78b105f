package roomserver

import (
	"context"
	"fmt"

	"astrocyte/matrix"
)

// name is a number that the batch gives to the id of an event.
type name struct {
	id      matrix.EventID
	nid     int64
	room    RoomNID
	claimed bool // the event itself is here, so that the id is of this room; else it is only mentioned
}

// known is what this server knows by the id of an event.
type known struct {
	nid    int64
	room   RoomNID
	status int64 // 0: the id was only mentioned
	tuple  int64 // 0: no state event
}

// newEvent gives a number to an event of a room.
func (r *Rooms) newEvent(ctx context.Context, room RoomNID) (int64, error) {
	nid, err := r.db.Nids(ctx, "events", 1)
	if err != nil {
		return 0, fmt.Errorf("name an event: %w", err)
	}
	return nid<<8 | room.Shard(), nil
}

// names are what is known of the events that a wish is about, by their ids, as seen from a room. An id
// that was mentioned in another room only is not known here: who mentions an id has no claim to it.
type names struct {
	b    *batch
	room RoomNID
	of   map[matrix.EventID]known
}

// look finds what is known of some events.
func (b *batch) look(room RoomNID, ids []matrix.EventID) (*names, error) {
	in := &names{b, room, make(map[matrix.EventID]known, len(ids))}
	var older []matrix.EventID
	for _, id := range ids {
		if e, ok := b.byID[id]; ok {
			in.of[id] = known{e.NID, e.Room, e.Status, e.Tuple}
			continue
		}
		in.of[id] = known{}
		if k, ok := b.before.ids[id]; ok {
			in.found(id, k)
		} else if storable(string(id)) {
			older = append(older, id)
		}
	}
	if len(older) > 0 {
		rows, err := readKnown(b.tx, older)
		if err != nil {
			return nil, fmt.Errorf("look up %d event ids: %w", len(older), err)
		}
		for id, k := range rows {
			in.found(id, k)
		}
	}
	for _, n := range b.names {
		if k, asked := in.of[n.id]; asked && k.nid == 0 && n.room == room {
			in.of[n.id] = known{nid: n.nid, room: room}
		}
	}
	return in, nil
}

// found takes over what the database knows by an id.
func (in *names) found(id matrix.EventID, k known) {
	if k.status != 0 || k.room == in.room {
		in.of[id] = k
	}
}

// here finds an event of the room that is stored; false where it is not, or is of another room.
func (in *names) here(id matrix.EventID) (known, bool) {
	k := in.of[id]
	return k, k.status != 0 && k.room == in.room
}

// elsewhere says whether an id is that of an event of another room.
func (in *names) elsewhere(id matrix.EventID) bool {
	k := in.of[id]
	return k.status != 0 && k.room != in.room
}

// mention gives the number of an event that is referred to, known or not; 0 for one of another room, and for
// what can be nobody's id.
func (in *names) mention(id matrix.EventID) (int64, error) {
	if in.elsewhere(id) || !storable(string(id)) {
		return 0, nil
	}
	if k := in.of[id]; k.nid != 0 {
		return k.nid, nil
	}
	nid, err := in.b.r.newEvent(in.b.ctx, in.room)
	if err == nil {
		in.of[id] = known{nid: nid, room: in.room}
		in.b.names = append(in.b.names, name{id: id, nid: nid, room: in.room})
	}
	return nid, err
}

// claim gives the number under which an event is stored. fresh makes one, where the id has none.
func (in *names) claim(id matrix.EventID, fresh func() (int64, error)) (int64, error) {
	k := in.of[id]
	if k.status != 0 {
		return k.nid, nil
	}
	if k.nid == 0 {
		var err error
		if k.nid, err = fresh(); err != nil {
			return 0, err
		}
	}
	in.of[id] = known{nid: k.nid, room: in.room}
	in.b.names = append(in.b.names, name{id: id, nid: k.nid, room: in.room, claimed: true})
	return k.nid, nil
}
