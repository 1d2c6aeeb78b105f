package roomserver

import (
	"context"
	"strconv"
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Place is a point between two events of a room's timeline: behind the event whose seq it is.
type Place int64

// String is the token that clients keep.
func (p Place) String() string { return "t" + strconv.FormatInt(int64(p), 10) }

// AsOf is the token of a place that was given out when the stream was at a position: who asks for the
// members at it means those of then.
func (p Place) AsOf(pos int64) string { return p.String() + "_" + strconv.FormatInt(pos, 10) }

// asOf reads the position out of a token that has one.
func asOf(token string) (pos int64, ok bool) {
	_, after, found := strings.Cut(token, "_")
	if !found || !strings.HasPrefix(token, "t") {
		return 0, false
	}
	pos, err := strconv.ParseInt(after, 10, 64)
	return pos, err == nil
}

// ParsePlace reads a token of a place in a room's timeline, or one of the stream, which is the place
// that the room had reached then. next reads the position out of a stream token.
func (r *Rooms) ParsePlace(tx *store.Tx, room RoomNID, token string, next func(string) (int64, error)) (Place, error) {
	if seq, ok := strings.CutPrefix(token, "t"); ok {
		seq, _, _ = strings.Cut(seq, "_")
		n, err := strconv.ParseInt(seq, 10, 64)
		if err != nil {
			return 0, matrix.InvalidParam("that is not a pagination token of this server")
		}
		return Place(n), nil
	}
	pos, err := next(token)
	if err != nil {
		return 0, err
	}
	it, ok, err := r.At(tx, room, pos)
	if err != nil || !ok {
		return 0, err
	}
	return Place(it.Seq), nil
}

// Page asks for a part of a room's history.
type Page struct {
	Room     matrix.RoomID
	From, To string // tokens; empty: the end where the direction begins, and no bound
	Backward bool
	Limit    int
	// Keep says which events are wanted; nil: all.
	Keep func(e *ClientEvent) bool
	// Position reads the position out of a stream token.
	Position func(token string) (int64, error)
}

// Chunk is a part of a room's history.
type Chunk struct {
	Events     []*ClientEvent
	Start, End string // End is empty where there is nothing more
}

// scanMost bounds how many places one request for a page looks at, whatever it keeps of them.
const scanMost = 2000

// Messages reads a page of the events that the viewer may see.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/messages
func (r *Rooms) Messages(ctx context.Context, v Viewer, p Page) (*Chunk, error) {
	var out *Chunk
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, v.User, p.Room)
		if err != nil {
			return err
		}
		from, to, err := r.bounds(tx, a, p)
		if err != nil {
			return err
		}
		out, err = r.page(tx, v, a, p, from, to, itemsOfRoom)
		return err
	})
	return out, err
}

// bounds are the places where a page begins and where it must end.
func (r *Rooms) bounds(tx *store.Tx, a Access, p Page) (from, to Place, err error) {
	from, to = Place(-maxSeq), Place(maxSeq)
	if p.Backward {
		from, to = Place(a.Seq), Place(-maxSeq)
	}
	if p.From != "" {
		if from, err = r.ParsePlace(tx, a.Room, p.From, p.Position); err != nil {
			return 0, 0, err
		}
	}
	if p.To != "" {
		if to, err = r.ParsePlace(tx, a.Room, p.To, p.Position); err != nil {
			return 0, 0, err
		}
	}
	if p.Backward {
		from = min(from, Place(a.Seq))
	}
	return from, to, nil
}

// reader reads up to limit places behind a place and up to another one, in a direction.
type reader func(tx *store.Tx, a Access, backward bool, from, to Place, limit int) ([]Item, error)

// page reads on until it has enough that the viewer may see and wants, or has looked at scanMost places.
func (r *Rooms) page(tx *store.Tx, v Viewer, a Access, p Page, from, to Place, read reader) (*Chunk, error) {
	out := &Chunk{Start: from.String()}
	if p.From != "" {
		out.Start = p.From
	}
	at, hid := from, false
	for looked := 0; looked < scanMost; {
		step := min(p.Limit+1, scanMost)
		items, err := read(tx, a, p.Backward, at, to, step)
		if err != nil {
			return nil, err
		}
		shown, err := r.Render(tx, v, a.Room, items)
		if err != nil {
			return nil, err
		}
		for _, e := range shown {
			if p.Keep != nil && !p.Keep(e) {
				hid = true
				continue
			}
			out.Events = append(out.Events, e)
			if len(out.Events) == p.Limit {
				out.End = behind(e.Seq, p.Backward).String()
				return out, nil
			}
		}
		if len(items) > 0 {
			at = behind(items[len(items)-1].Seq, p.Backward)
		}
		if len(items) < step {
			more := hid && len(out.Events) > 0 // with another filter there may be more: it can go on from here
			if !more && p.Backward {
				if more, err = gapAt(tx, a.Room, int64(at)+1); err != nil { // which may be filled the next time
					return nil, err
				}
			}
			if more {
				out.End = at.String()
			}
			return out, nil
		}
		looked += len(items)
	}
	out.End = at.String()
	return out, nil
}

// behind is the place on the far side of an event, as seen by who reads in a direction.
func behind(seq int64, backward bool) Place {
	if backward {
		return Place(seq - 1)
	}
	return Place(seq)
}

// itemsOfRoom reads the places of the timeline, not beyond what the user may read.
func itemsOfRoom(tx *store.Tx, a Access, backward bool, from, to Place, limit int) ([]Item, error) {
	if backward {
		items, err := itemsBefore(tx, a.Room, int64(from)+1, limit)
		for i, it := range items {
			if it.Seq <= int64(to) {
				return items[:i], err
			}
		}
		return items, err
	}
	items, err := itemsAfter(tx, a.Room, int64(from), limit)
	for i, it := range items {
		if it.Seq > min(int64(to), a.Seq) {
			return items[:i], err
		}
	}
	return items, err
}

// Surroundings are an event with what was before and after it.
type Surroundings struct {
	Event         *ClientEvent
	Before, After []*ClientEvent // both in reading order from the event outwards
	Start, End    string
	Snap          int64 // the room's state at the last event
	Room          RoomNID
}

// Around reads up to limit events around one that the viewer may see.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}
func (r *Rooms) Around(ctx context.Context, v Viewer, id matrix.RoomID, event matrix.EventID, limit int, keep func(*ClientEvent) bool) (*Surroundings, error) {
	if limit <= 0 {
		return r.Between(ctx, v, id, event, 0, 0, keep)
	}
	return r.Between(ctx, v, id, event, limit-limit/2, max(limit/2, 1), keep)
}

// Between reads up to so many events before one that the viewer may see, and after it.
func (r *Rooms) Between(ctx context.Context, v Viewer, id matrix.RoomID, event matrix.EventID, before, after int, keep func(*ClientEvent) bool) (*Surroundings, error) {
	var out *Surroundings
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, it, shown, err := r.visibleEvent(tx, v, id, event)
		if err != nil {
			return err
		}
		s := &Surroundings{Event: shown, Snap: it.Snap, Room: a.Room, Start: Place(it.Seq - 1).String(), End: Place(it.Seq).String()}
		if before > 0 {
			chunk, err := r.page(tx, v, a, Page{Backward: true, Limit: before, Keep: keep}, Place(it.Seq-1), Place(-maxSeq), itemsOfRoom)
			if err != nil {
				return err
			}
			s.Before = chunk.Events
		}
		if after > 0 {
			chunk, err := r.page(tx, v, a, Page{Limit: after, Keep: keep}, Place(it.Seq), Place(maxSeq), itemsOfRoom)
			if err != nil {
				return err
			}
			s.After = chunk.Events
		}
		if n := len(s.Before); n > 0 {
			s.Start = Place(s.Before[n-1].Seq - 1).String()
		}
		if n := len(s.After); n > 0 {
			s.End = Place(s.After[n-1].Seq).String()
			last, ok, err := itemOf(tx, s.After[n-1].NID)
			if err != nil {
				return err
			}
			if ok {
				s.Snap = last.Snap
			}
		}
		out = s
		return nil
	})
	return out, err
}
