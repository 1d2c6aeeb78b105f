package syncapi

import (
	"fmt"
	"slices"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// readSticky reads the events of a room that are sticky and new to the client, where its timeline may lack them:
// because it is cut, or filtered, or begins before the user could see.
//
// Spec: MSC4354.
func (r *reading) readSticky(j *joinedNews, v *visit, known bool) error {
	if j.timeline == nil || known && !j.timeline.limited && !r.filter.narrow {
		return nil
	}
	if has, err := r.hasSticky(v.Room); !has || err != nil {
		return err
	}
	after := r.since.Pos
	if !known {
		after = everything
	}
	found, err := r.sticky(v.Room, after, j.timeline)
	for _, s := range found {
		j.sticky = append(j.sticky, s.event)
	}
	return err
}

// hasSticky says whether a room has events that are sticky. Of a client that begins it finds that of all rooms at once.
func (r *reading) hasSticky(room roomserver.RoomNID) (bool, error) {
	if r.stuck == nil {
		rooms := []roomserver.RoomNID{room}
		if r.initial {
			rooms = rooms[:0]
			for _, j := range r.joined {
				rooms = append(rooms, j.Room)
			}
		}
		stuck, err := r.a.rooms.StickyRooms(r.tx, rooms)
		if err != nil {
			return false, fmt.Errorf("find rooms with sticky events: %w", err)
		}
		if !r.initial {
			return len(stuck) > 0, nil
		}
		r.stuck = make(map[roomserver.RoomNID]bool, len(stuck))
		for _, room := range stuck {
			r.stuck[room] = true
		}
	}
	return r.stuck[room], nil
}

// stickyEvent is a sticky event, and where in the stream it is.
type stickyEvent struct {
	event *roomserver.ClientEvent
	pos   int64
}

// sticky reads the sticky events of a room that came after a position and are not in a timeline.
func (r *reading) sticky(room roomserver.RoomNID, after int64, t *timeline) ([]stickyEvent, error) {
	items, err := r.a.rooms.Sticky(r.tx, room, after, r.upto)
	if err != nil {
		return nil, fmt.Errorf("find the sticky events of room %d: %w", room, err)
	}
	if t != nil {
		items = slices.DeleteFunc(items, func(it roomserver.Item) bool {
			return slices.ContainsFunc(t.events, func(e *roomserver.ClientEvent) bool { return e.NID == it.NID })
		})
	}
	if len(items) == 0 {
		return nil, nil
	}
	shown, err := r.a.rooms.RenderSticky(r.tx, r.viewer, items)
	if err != nil {
		return nil, fmt.Errorf("show the sticky events of room %d: %w", room, err)
	}
	at := make(map[int64]int64, len(items))
	for _, it := range items {
		at[it.NID] = it.Pos
	}
	out := make([]stickyEvent, len(shown))
	for i, e := range shown {
		out[i] = stickyEvent{e, at[e.NID]}
	}
	return out, nil
}

// slidSticky are the sticky events of a room that its timeline does not have.
type slidSticky struct {
	room   matrix.RoomID
	events []stickyEvent
	whole  bool // the user has entered it since: all of them are told
}

// slidStickyMost is how many sticky events an answer tells where the client says nothing else.
const slidStickyMost = 100

// extendSticky reads the sticky events of all rooms that the client has to do with: those that its lists are about, also
// where no range shows them, and those that it named. The oldest come first, and next is behind the last that is told;
// of a room that the user has entered since all are told.
//
// Extension: MSC4480.
func (r *slide) extendSticky(x *slidExtensions) error {
	after := x.ask.sticky.had
	if after > r.upto {
		after = 0 // the database was restored from a backup
	}
	if r.ask.form == slidingSocket && !r.initial { // who is pushed things says nothing
		after = r.since.Pos
	}
	rooms, err := r.stuckRooms(after)
	if err != nil {
		return fmt.Errorf("find rooms with sticky events: %w", err)
	}
	limit := slidStickyMost
	if x.ask.sticky.limit > 0 {
		limit = min(limit, x.ask.sticky.limit)
	}
	shown := make(map[matrix.RoomID]*timeline)
	for _, n := range r.news.rooms {
		shown[n.id] = n.timeline
	}
	for _, l := range rooms {
		from := after
		if l.began > after {
			from = everything
		}
		events, err := r.sticky(l.room, from, shown[l.id])
		if err != nil {
			return err
		}
		if len(events) > 0 {
			x.sticky = append(x.sticky, slidSticky{l.id, events, from == everything && after > 0})
		}
	}
	x.stickyNext = x.cutSticky(limit, r.upto)
	x.stickyNews = r.initial || x.ask.sticky.had > 0
	for _, s := range x.sticky {
		for _, e := range s.events {
			x.stickyNews = x.stickyNews || e.pos > r.since.Pos
		}
	}
	x.stickyNews = x.stickyNews && len(x.sticky) > 0
	return nil
}

// cutSticky leaves out what is more than the limit, the newest, and gives the position up to which all is told.
func (x *slidExtensions) cutSticky(limit int, upto int64) int64 {
	var places []int64
	for _, s := range x.sticky {
		for _, e := range s.events {
			if !s.whole {
				places = append(places, e.pos)
			}
		}
	}
	if len(places) <= limit {
		return upto
	}
	slices.Sort(places)
	last := places[limit-1]
	for i := range x.sticky {
		if s := &x.sticky[i]; !s.whole {
			s.events = slices.DeleteFunc(s.events, func(e stickyEvent) bool { return e.pos > last })
		}
	}
	x.sticky = slices.DeleteFunc(x.sticky, func(s slidSticky) bool { return len(s.events) == 0 })
	return last
}

// slidSticky writes sticky events, by room.
func (w *writer) slidSticky(x *slidExtensions) {
	w.text("next_batch", hadPrefix+strconv.FormatInt(x.stickyNext, 10))
	w.object("rooms", func() {
		for _, s := range x.sticky {
			w.object(string(s.room), func() {
				w.key("events")
				w.open('[')
				for _, e := range s.events {
					w.comma()
					w.b = e.event.AppendJSON(w.b, roomserver.WithoutRoomID)
				}
				w.close(']')
			})
		}
	})
}

// stuckRooms are the rooms that the client has to do with in which events after a position are sticky.
func (r *slide) stuckRooms(after int64) ([]*listed, error) {
	var stuck []roomserver.RoomNID
	var err error
	if after > 0 {
		stuck, err = r.a.rooms.StickyBetween(r.tx, after, r.upto)
	}
	if err != nil {
		return nil, err
	}
	var fresh []roomserver.RoomNID
	for i := range r.listing.rooms {
		if l := &r.listing.rooms[i]; l.inside() && l.began > after && r.interest[l.room] {
			fresh = append(fresh, l.room)
		}
	}
	if after <= 0 {
		fresh = fresh[:0]
		for room := range r.interest {
			fresh = append(fresh, room)
		}
	}
	entered, err := r.a.rooms.StickyRooms(r.tx, fresh)
	if err != nil {
		return nil, err
	}
	in := make(map[roomserver.RoomNID]bool, len(stuck)+len(entered))
	for _, room := range slices.Concat(stuck, entered) {
		in[room] = true
	}
	var out []*listed
	for i := range r.listing.rooms {
		if l := &r.listing.rooms[i]; in[l.room] && l.inside() && r.interest[l.room] {
			out = append(out, l)
		}
	}
	return out, nil
}
