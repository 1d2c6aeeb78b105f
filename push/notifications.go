package push

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Notified is an event that a user has been notified about, or would have been.
//
// Spec: GET /_matrix/client/v3/notifications
type Notified struct {
	Event   *roomserver.ClientEvent
	Actions []json.RawMessage
	Read    bool
}

const (
	// notifiedMost bounds the events of one answer.
	notifiedMost = 100
	// lookedAtMost bounds the events that are looked at for one answer.
	lookedAtMost = 2000
	// roomChunk is how many events of a room are read at a time.
	roomChunk = 50
)

// Notifications lists what a user has been notified about, the newest first, before the place that next
// of an earlier answer names. They are found by the rules as they are now: nothing is kept for it. next is
// empty where there is no more; a short answer with a next means that a long stretch notified of nothing.
func (p *Push) Notifications(ctx context.Context, v roomserver.Viewer, from string, limit int, highlights bool) (list []Notified, next string, err error) {
	before := int64(1) << 62
	if from != "" {
		if before, err = strconv.ParseInt(from, 10, 64); err != nil || before < 0 {
			return nil, "", matrix.InvalidParam("from is not a token of this list")
		}
	}
	err = p.db.View(ctx, func(tx *store.Tx) error {
		l := &looking{p: p, tx: tx, viewer: v, before: before, limit: min(limit, notifiedMost), highlights: highlights}
		if err := l.run(); err != nil {
			return fmt.Errorf("find what %s was notified about: %w", v.User, err)
		}
		list, next = l.found, ""
		if l.more {
			next = strconv.FormatInt(l.before, 10)
		}
		return nil
	})
	return list, next, err
}

// looking is the search for notifications through the rooms of a user, backwards in the stream.
type looking struct {
	p          *Push
	tx         *store.Tx
	viewer     roomserver.Viewer
	before     int64 // the position of the event that was looked at last
	limit      int
	highlights bool

	c     *counting
	rooms []*roomBack
	found []Notified
	more  bool
}

// roomBack is a room that is read backwards.
type roomBack struct {
	head  roomserver.Head
	began int64
	top   int64 // no unread event of it has a greater position
	seq   int64 // events before this place were not read
	items []roomserver.Item
	facts *roomFacts
	ended bool
}

func (l *looking) run() error {
	l.c = &counting{p: l.p, tx: l.tx, user: l.viewer.User}
	var err error
	if l.c.rules, l.c.pos, err = l.p.evaluator(l.tx, l.viewer.User); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	for looked := 0; ; looked++ {
		room, err := l.nextRoom()
		if err != nil || room == nil {
			return err
		}
		if len(l.found) >= l.limit || looked >= lookedAtMost {
			l.more = true
			return nil
		}
		it := room.items[0]
		room.items = room.items[1:]
		l.before = it.Pos
		if err := l.lookAt(room, it); err != nil {
			return err
		}
	}
}

// open finds the rooms and where to begin in them.
func (l *looking) open() error {
	all, err := l.p.rooms.UserRooms(l.tx, l.viewer.User)
	if err != nil {
		return err
	}
	var nids []roomserver.RoomNID
	began := make(map[roomserver.RoomNID]int64)
	for _, r := range all {
		if r.Membership == matrix.Join {
			nids = append(nids, r.Room)
			began[r.Room] = r.Pos
		}
	}
	heads, err := l.p.rooms.Heads(l.tx, nids)
	if err != nil {
		return err
	}
	if l.c.read, err = l.p.readUpTo(l.tx, l.viewer.User, nids); err != nil {
		return err
	}
	for _, h := range heads {
		l.rooms = append(l.rooms, &roomBack{head: h, began: began[h.Room], top: min(h.Pos, l.before-1), seq: h.Seq + 1})
	}
	return nil
}

// nextRoom gives the room whose next event is the newest of all, with that event read; nil: there is none.
func (l *looking) nextRoom() (*roomBack, error) {
	for {
		l.rooms = slices.DeleteFunc(l.rooms, func(r *roomBack) bool { return r.ended })
		if len(l.rooms) == 0 {
			return nil, nil
		}
		room := slices.MaxFunc(l.rooms, func(a, b *roomBack) int { return cmp.Compare(a.top, b.top) })
		if len(room.items) > 0 && room.items[0].Pos == room.top {
			return room, nil
		}
		if err := l.fill(room); err != nil {
			return nil, err
		}
	}
}

// fill makes the next event of a room known.
func (l *looking) fill(room *roomBack) error {
	if len(room.items) == 0 {
		if room.seq > room.head.Seq && room.head.Pos >= l.before { // the first reading, from a place further back
			at, found, err := l.p.rooms.At(l.tx, room.head.Room, room.top)
			if err != nil {
				return err
			}
			if !found {
				room.ended = true
				return nil
			}
			room.seq = at.Seq + 1
		}
		items, err := l.p.rooms.Before(l.tx, room.head.Room, room.seq, roomChunk)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			room.ended = true
			return nil
		}
		room.seq = items[len(items)-1].Seq
		room.items = items
	}
	for len(room.items) > 0 && (room.items[0].Pos == 0 || room.items[0].Pos > room.top) { // history that came later
		room.items = room.items[1:]
	}
	if len(room.items) == 0 {
		return nil
	}
	if room.top = room.items[0].Pos; room.top < room.began {
		room.ended = true
	}
	return nil
}

// lookAt asks the rules about an event.
func (l *looking) lookAt(room *roomBack, it roomserver.Item) error {
	events, err := l.p.rooms.Events(l.tx, []int64{it.NID})
	if err != nil {
		return err
	}
	e := events[it.NID]
	if e == nil || e.Sender() == l.viewer.User || e.RedactedBy != 0 {
		return nil
	}
	if room.facts == nil {
		room.facts = l.c.facts(room.head)
	}
	o := l.c.rules.Evaluate(About(e.Event), &room.facts.Facts)
	if room.facts.err != nil || !o.Notify || l.highlights && !o.Highlight {
		return room.facts.err
	}
	if ignored, err := l.c.isIgnored(e.Sender()); err != nil || ignored {
		return err
	}
	shown, err := l.p.rooms.Render(l.tx, l.viewer, room.head.Room, []roomserver.Item{it})
	if err != nil || len(shown) == 0 {
		return err
	}
	thread, err := l.p.rooms.ThreadOf(l.tx, e)
	if err != nil {
		return err
	}
	read := l.c.read[room.head.Room]
	l.found = append(l.found, Notified{shown[0], o.Actions, max(read[""], read[thread]) >= it.Seq})
	return nil
}
