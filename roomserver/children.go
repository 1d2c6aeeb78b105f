package roomserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// RecursionDepth is how many relations a recursive question follows.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}
const RecursionDepth = 3

// Children asks for events that are about another one.
type Children struct {
	Page    // Keep is not looked at
	Event   matrix.EventID
	Kind    string // the rel_type; empty: any
	Type    string // of the events; empty: any
	Recurse bool   // those too that are about them, over RecursionDepth relations
}

// Relations reads a page of the events that are about one, as the viewer may see them.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}
func (r *Rooms) Relations(ctx context.Context, v Viewer, c Children) (*Chunk, error) {
	var out *Chunk
	c.Keep = nil
	q := childQuery{target: c.Event, kind: c.Kind, tp: c.Type, depth: 1, backward: c.Backward}
	if c.Recurse {
		q.depth = RecursionDepth
	}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, _, _, err := r.visibleEvent(tx, v, c.Room, c.Event)
		if err != nil {
			return notTold(err, c.Event)
		}
		from, to, err := r.bounds(tx, a, c.Page)
		if err != nil {
			return err
		}
		out, err = r.page(tx, v, a, c.Page, from, to, q.read)
		return err
	})
	return out, err
}

// notTold hides from those who may not read a room whether it has an event.
func notTold(err error, event matrix.EventID) error {
	var refused *matrix.Error
	if errors.As(err, &refused) && refused.Code == matrix.CodeForbidden {
		return matrix.NotFound("there is no event %s that you may see", event)
	}
	return err
}

// read is the reader of the places that the query asks for.
func (q childQuery) read(tx *store.Tx, a Access, backward bool, from, to Place, limit int) ([]Item, error) {
	q.room, q.limit = a.Room, limit
	q.after, q.upto = int64(from), min(int64(to), a.Seq)
	if backward {
		q.after, q.upto = int64(to), min(int64(from), a.Seq)
	}
	items, err := readChildren(tx, q)
	if err != nil {
		return nil, fmt.Errorf("read what is about %s: %w", q.target, err)
	}
	return items, nil
}

// Threads reads a page of the roots of a room's threads, those with the newest events first.
// participated: only threads in which the viewer has written.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/threads
func (r *Rooms) Threads(ctx context.Context, v Viewer, p Page, participated bool) (*Chunk, error) {
	var out *Chunk
	p.Backward = true
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, v.User, p.Room)
		if err != nil {
			return err
		}
		from, _, err := r.bounds(tx, a, p)
		if err != nil {
			return err
		}
		out, err = r.threads(tx, v, a, p.Limit, int64(from), participated)
		return err
	})
	return out, err
}

// threads reads on until it has enough roots, or has looked at scanMost threads.
func (r *Rooms) threads(tx *store.Tx, v Viewer, a Access, limit int, from int64, participated bool) (*Chunk, error) {
	out := &Chunk{}
	for looked := 0; looked < scanMost; {
		rows, err := readThreads(tx, a.Room, v, from, a.Seq, limit+1)
		if err != nil {
			return nil, fmt.Errorf("read threads: %w", err)
		}
		roots, err := r.roots(tx, v, a, rows)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			root, shown := roots[row.root]
			if shown && (!participated || row.own || root.Sender() == v.User) {
				if len(out.Events) == limit {
					out.End = Place(from).String()
					return out, nil
				}
				out.Events = append(out.Events, root)
			}
			from = row.seq - 1
		}
		if len(rows) <= limit {
			return out, nil
		}
		looked += len(rows)
	}
	out.End = Place(from).String()
	return out, nil
}

// roots shows the roots of threads. Those of ignored users are shown redacted.
func (r *Rooms) roots(tx *store.Tx, v Viewer, a Access, rows []threadRow) (map[matrix.EventID]*ClientEvent, error) {
	ids := make([]matrix.EventID, len(rows))
	for i, row := range rows {
		ids[i] = row.root
	}
	items, err := itemsByID(tx, a.Room, ids)
	if err != nil {
		return nil, fmt.Errorf("find the roots of threads: %w", err)
	}
	shown, err := r.renderRoots(tx, v, a, items)
	out := make(map[matrix.EventID]*ClientEvent, len(shown))
	for _, e := range shown {
		if e.Bundle == nil || e.Bundle.Thread == nil { // none of its events may be seen
			continue
		}
		out[e.ID()] = e
	}
	return out, err
}

// renderRoots shows roots: those of ignored users redacted, so that the thread can be told.
func (r *Rooms) renderRoots(tx *store.Tx, v Viewer, a Access, items []Item) ([]*ClientEvent, error) {
	items = slices.DeleteFunc(items, func(it Item) bool { return it.Seq > a.Seq })
	others, err := r.sight(tx, v, a.Room)
	if err != nil {
		return nil, err
	}
	look := *others
	look.not = nil
	shown, err := r.render(tx, v, items, &look, others)
	for _, e := range shown {
		if !v.Ignores.has(e.Sender()) || e.Sender() == v.User {
			continue
		}
		e.Shown = e.Event.Event.Redact()
		if e.Bundle != nil {
			e.Bundle = &Bundle{Thread: e.Bundle.Thread}
		}
	}
	return shown, err
}
