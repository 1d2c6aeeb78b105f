package roomserver

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Bundle is what an event is told of those that are about it.
//
// Spec: CS "Aggregations of child events".
type Bundle struct {
	Edit       *ClientEvent // the last valid m.replace
	Thread     *Thread
	References []matrix.EventID
}

// Thread sums up the thread that an event is the root of.
type Thread struct {
	Latest       *ClientEvent
	Count        int64
	Participated bool // the viewer has written in it, or begun it
}

// addBundles tells events of a page what others say about them. It asks the database only where there is
// something to be told.
func (r *Rooms) addBundles(tx *store.Tx, v Viewer, look *sight, events []*ClientEvent) error {
	var about map[matrix.EventID][]*ClientEvent
	var targets []matrix.EventID
	for _, e := range events {
		if e.Related && e.Tuple == 0 {
			if about == nil {
				about = make(map[matrix.EventID][]*ClientEvent)
			}
			if about[e.ID()] == nil {
				targets = append(targets, e.ID())
			}
			about[e.ID()] = append(about[e.ID()], e)
		}
	}
	if len(targets) == 0 {
		return nil
	}
	upto := int64(maxSeq)
	if look.joinedUntil != 0 {
		upto = look.joinedUntil
	}
	rows, err := readBundles(tx, look.room, targets, v, upto)
	if err != nil {
		return fmt.Errorf("read what is said about %d events: %w", len(targets), err)
	}
	var nids []int64
	for _, row := range rows {
		if row.kind != relReference {
			nids = append(nids, row.NID)
		}
	}
	told, err := r.Events(tx, nids)
	if err != nil {
		return err
	}
	w := bundler{look: look, told: told}
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].target == rows[0].target {
			n++
		}
		for _, e := range about[rows[0].target] {
			if err := w.fill(e, rows[:n]); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	if err := r.complete(tx, v, w.shown); err != nil {
		return err
	}
	return r.addBundles(tx, v, look, w.latest)
}

// bundler makes the bundles of a page.
type bundler struct {
	look   *sight
	told   map[int64]*Event
	shown  []*ClientEvent // those that stand in bundles, to be completed
	latest []*ClientEvent // those of them that can have bundles in turn: not roots of threads, so it ends
}

// fill makes the bundle of an event from the rows about it.
func (w *bundler) fill(e *ClientEvent, rows []bundleRow) error {
	b := &Bundle{}
	var edits []*ClientEvent
	for _, row := range rows {
		switch row.kind {
		case relReference:
			b.References = append(b.References, row.id)
		case relThread:
			latest, err := w.latestOf(row)
			if err != nil {
				return err
			}
			if latest != nil {
				b.Thread = &Thread{Latest: latest, Count: row.total, Participated: row.own || e.Sender() == w.look.user}
				w.latest = append(w.latest, latest)
			}
		case relReplace:
			if !w.edits(row, e.Event) {
				continue
			}
			edit, err := w.show(row)
			if err != nil {
				return err
			}
			if edit != nil {
				edits = append(edits, edit)
			}
		}
	}
	if len(edits) > 0 {
		b.Edit = slices.MaxFunc(edits, func(x, y *ClientEvent) int {
			return cmp.Or(cmp.Compare(x.OriginServerTS(), y.OriginServerTS()), cmp.Compare(x.ID(), y.ID()))
		})
	}
	if b.Edit != nil || b.Thread != nil || len(b.References) > 0 {
		slices.Reverse(b.References) // oldest first
		e.Bundle = b
	}
	return nil
}

// latestOf finds the newest event of a thread that the viewer may see. Mostly it is the newest of all.
func (w *bundler) latestOf(row bundleRow) (*ClientEvent, error) {
	latest, err := w.show(row)
	if latest != nil || err != nil {
		return latest, err
	}
	const most = 50 // looked at
	q := childQuery{
		room: w.look.room, target: row.target, kind: relThread, depth: 1,
		after: -maxSeq, upto: row.Seq - 1, backward: true, limit: most,
	}
	items, err := readChildren(w.look.tx, q)
	if err != nil {
		return nil, fmt.Errorf("look for the newest event of a thread: %w", err)
	}
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	more, err := w.look.r.Events(w.look.tx, nids)
	if err != nil {
		return nil, err
	}
	maps.Copy(w.told, more)
	for _, it := range items {
		if latest, err = w.show(bundleRow{Item: it}); latest != nil || err != nil {
			return latest, err
		}
	}
	return nil, nil
}

// edits says whether an event replaces another one.
//
// Spec: CS "Validity of replacement events".
func (w *bundler) edits(row bundleRow, original *Event) bool {
	edit, ok := w.told[row.NID]
	if !ok || row.sender != original.Sender() || row.tp != original.Type() || edit.Tuple != 0 || original.Tuple != 0 ||
		edit.RedactedBy != 0 || original.RedactedBy != 0 {
		return false
	}
	if kind, _ := original.Relation(); kind == relReplace {
		return false
	}
	_, found := canonicaljson.Field(edit.Content(), "m.new_content")
	return found || edit.Type() == "m.room.encrypted"
}

// show gives an event of a bundle if the viewer may see it.
func (w *bundler) show(row bundleRow) (*ClientEvent, error) {
	e, ok := w.told[row.NID]
	if !ok {
		return nil, nil
	}
	seen, membership, err := w.look.sees(e, row.Item)
	if err != nil || seen != rules.VisibleInFull {
		return nil, err
	}
	shown := &ClientEvent{Event: e, Seq: row.Seq, Membership: membership}
	w.shown = append(w.shown, shown)
	return shown, nil
}

// appendJSON writes the m.relations of an event.
func (b *Bundle) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	comma := func() {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
	}
	if len(b.References) > 0 {
		dst = append(dst, `"m.reference":{"chunk":[`...)
		for i, id := range b.References {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendMember(dst, `{"event_id":`, string(id)), '}')
		}
		dst = append(dst, `]}`...)
	}
	if b.Edit != nil {
		comma()
		dst = b.Edit.AppendJSON(append(dst, `"m.replace":`...), WithRoomID)
	}
	if t := b.Thread; t != nil {
		comma()
		dst = append(dst, `"m.thread":{"count":`...)
		dst = strconv.AppendInt(dst, t.Count, 10)
		dst = append(dst, `,"current_user_participated":`...)
		dst = strconv.AppendBool(dst, t.Participated)
		dst = t.Latest.AppendJSON(append(dst, `,"latest_event":`...), WithRoomID)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}
