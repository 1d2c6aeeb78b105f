package roomserver

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// event reads one event, from the cache if it is there. Its redaction and status may be older than the
// transaction: who shows it to somebody uses Events.
func (r *Rooms) event(tx *store.Tx, nid int64) (*Event, error) {
	if e, ok := r.events.Get(nid); ok {
		return e, nil
	}
	es, err := r.load(tx, []int64{nid})
	if err != nil {
		return nil, err
	}
	e, ok := es[nid]
	if !ok {
		return nil, fmt.Errorf("event %d is not in the database", nid)
	}
	return e, nil
}

// load reads events from the database and keeps them. Those that are not there are not in the answer.
func (r *Rooms) load(tx *store.Tx, nids []int64) (map[int64]*Event, error) {
	out := make(map[int64]*Event, len(nids))
	rows, err := readEvents(tx, nids)
	if err != nil {
		return nil, fmt.Errorf("read %d events: %w", len(nids), err)
	}
	for _, row := range rows {
		v, err := version(row.version)
		if err != nil {
			return nil, err
		}
		e := row.event
		if e.Event, err = rules.Load(v, row.id, row.json); err != nil {
			return nil, fmt.Errorf("read the stored event %s: %w", row.id, err)
		}
		out[e.NID] = &e
		if e.lasting() {
			r.events.Put(e.NID, &e, e.cost())
		}
	}
	return out, nil
}

// Events reads events as this transaction sees them: redactions and status are of its moment. Those
// that are not there are not in the answer.
func (r *Rooms) Events(tx *store.Tx, nids []int64) (map[int64]*Event, error) {
	out := make(map[int64]*Event, len(nids))
	var held, missing []int64
	for _, nid := range nids {
		if e, ok := r.events.Get(nid); ok {
			out[nid] = e
			held = append(held, nid)
		} else {
			missing = append(missing, nid)
		}
	}
	if len(missing) > 0 {
		read, err := r.load(tx, missing)
		if err != nil {
			return nil, err
		}
		for nid, e := range read {
			out[nid] = e
		}
	}
	if len(held) == 0 {
		return out, nil
	}
	marked, err := readMarks(tx, held)
	if err != nil {
		return nil, fmt.Errorf("read marks of %d events: %w", len(held), err)
	}
	for nid, m := range marked {
		if e := *out[nid]; e.RedactedBy != m.redactedBy || e.Related != m.related {
			e.RedactedBy, e.Related = m.redactedBy, m.related
			out[nid] = &e
		}
	}
	return out, nil
}

// held reads events from the cache and the database. Their redaction may be older than the transaction.
// Those that are not there are not in the answer.
func (r *Rooms) held(tx *store.Tx, nids []int64) (map[int64]*Event, error) {
	out := make(map[int64]*Event, len(nids))
	var missing []int64
	for _, nid := range nids {
		if e, ok := r.events.Get(nid); ok {
			out[nid] = e
		} else {
			missing = append(missing, nid)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	read, err := r.load(tx, missing)
	for nid, e := range read {
		out[nid] = e
	}
	return out, err
}

// held finds events of this batch and older ones. Those that are not there are not in the answer.
func (b *batch) held(nids []int64) (map[int64]*Event, error) {
	staged := make(map[int64]*Event)
	older := make([]int64, 0, len(nids))
	for _, nid := range nids {
		if e, ok := b.byNID[nid]; ok {
			staged[nid] = e
		} else if e, ok := b.before.events[nid]; ok {
			staged[nid] = e
		} else {
			older = append(older, nid)
		}
	}
	out, err := b.r.held(b.tx, older)
	for nid, e := range staged {
		out[nid] = e
	}
	return out, err
}

// eventByID finds an event of a room, staged or stored; nil if it is not here.
func (b *batch) eventByID(room RoomNID, id matrix.EventID) (*Event, error) {
	if e, ok := b.byID[id]; ok && e.Room == room {
		return e, nil
	}
	return b.r.eventByID(b.tx, room, id)
}

// eventByID finds an event of a room by its id; nil if it is not here.
func (r *Rooms) eventByID(tx *store.Tx, room RoomNID, id matrix.EventID) (*Event, error) {
	nid, in, ok, err := eventNID(tx, id)
	if err != nil || !ok || in != room {
		return nil, err
	}
	es, err := r.Events(tx, []int64{nid})
	if err != nil {
		return nil, err
	}
	return es[nid], nil
}
