package syncapi

import (
	"strings"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// scoped is a room in view.
type scoped struct {
	*listed
	limit  int
	wishes *wishes
	lists  []string // those that show it
	sub    bool     // the client named it
	// what became of it:
	told  bool // the client has all of it up to now
	fresh bool // it came into view with this answer
}

// findScope finds the rooms that the lists and subscriptions show.
func (r *slide) findScope() error {
	shown := make([][]string, len(r.listing.rooms))
	if r.ask.ext.sticky.enabled {
		r.interest = make(map[roomserver.RoomNID]bool)
	}
	for i := range r.ask.lists {
		if err := r.showList(&r.ask.lists[i], shown); err != nil {
			return err
		}
	}
	joined := make(map[string]*scoped)
	for i := range r.listing.rooms {
		l := &r.listing.rooms[i]
		sub, named := r.ask.subs[l.id]
		if named && !r.mayShow(l) {
			named = false
		}
		if !named && shown[i] == nil {
			continue
		}
		if r.interest != nil {
			r.interest[l.room] = true
		}
		s := &scoped{listed: l, lists: shown[i], sub: named}
		r.configure(s, sub, joined)
		r.scope = append(r.scope, s)
	}
	return nil
}

// showList counts the rooms of a list and notes those that are in its ranges.
func (r *slide) showList(list *slidingList, shown [][]string) error {
	place := int64(0)
	for i := range r.listing.rooms {
		l := &r.listing.rooms[i]
		if !r.mayShow(l) {
			continue
		}
		ok, err := r.passes(&list.filter, l)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if r.interest != nil {
			r.interest[l.room] = true
		}
		if list.holds(place) {
			shown[i] = append(shown[i], list.name)
		}
		place++
	}
	r.news.lists = append(r.news.lists, slidList{list.name, place})
	return nil
}

// mayShow says whether a room is one of those that lists have: where the user is, is invited or has knocked;
// which they were made to leave; and which the client still shows though they left.
func (r *slide) mayShow(l *listed) bool {
	switch l.membership {
	case matrix.Join, matrix.Knock:
		return true
	case matrix.Invite:
		return !r.ignored[l.sender]
	}
	if _, known := r.conn.rooms[l.room]; known {
		return true
	}
	if l.sender == r.viewer.User {
		return false
	}
	p, ok := r.a.pasts.Get(pastKey{r.viewer.User, l.room, l.began})
	if !ok {
		var err error
		if p, err = r.pastOf(l); err != nil {
			return false
		}
	}
	return p != nil
}

// configure joins what the lists and the subscription want to know of a room. Rooms that the same ones show
// share what comes of it.
func (r *slide) configure(s *scoped, sub roomConfig, joined map[string]*scoped) {
	key := strings.Join(s.lists, "\x00")
	if s.sub {
		key += "\x00\x00" + string(s.id)
	}
	if like, ok := joined[key]; ok {
		s.limit, s.wishes = like.limit, like.wishes
		return
	}
	var wanted []stateWish
	if s.sub {
		s.limit, wanted = sub.limit, append(wanted, sub.state)
	}
	for i := range r.ask.lists {
		l := &r.ask.lists[i]
		for _, name := range s.lists {
			if name == l.name {
				s.limit, wanted = max(s.limit, l.limit), append(wanted, l.state)
			}
		}
	}
	s.wishes = wishesOf(wanted)
	joined[key] = s
}

// known gives what the client was told of a room, and from where on things are new to it.
func (r *slide) known(s *scoped) (t toldRoom, known bool, since int64) {
	t, known = r.conn.rooms[s.room]
	switch {
	case !known:
		return t, false, 0
	case t.upto > 0:
		return t, true, t.upto
	}
	return t, true, r.since.Pos
}

// tellRooms tells the rooms in view of which there is news: those that the client named first, then in the
// order of the list. Those for which there is no place stay as the client knows them, and are told next.
func (r *slide) tellRooms() error {
	if err := r.findRead(); err != nil {
		return err
	}
	for _, subs := range []bool{true, false} {
		for _, s := range r.scope {
			if s.sub != subs {
				continue
			}
			if err := r.tell(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *slide) tell(s *scoped) error {
	t, known, since := r.known(s)
	s.fresh = !known || t.upto > 0
	wish := r.wishIndex(s.wishes)
	next := toldRoom{limit: max(t.limit, s.limit), wish: wish, inside: !s.stripped(), dm: t.dm}
	if known && r.unchanged(s, t, since) {
		s.told = true
		next.limit, next.inside = t.limit, t.inside
		r.changes[s.room] = next
		return nil
	}
	if len(r.news.rooms) >= slidingRoomsMost || r.events >= slidingEventsMost {
		r.news.more = true
		if known {
			t.upto = since
			r.changes[s.room] = t
		}
		return nil
	}
	n, err := r.tellRoom(s, &next, t, known, since)
	if err != nil {
		return err
	}
	s.told = true
	r.changes[s.room] = next
	if n == nil {
		return nil
	}
	n.id, n.membership, n.lists, n.bump = s.id, s.membership, s.lists, s.bump
	if n.timeline != nil {
		r.events += len(n.timeline.events)
	}
	r.news.rooms = append(r.news.rooms, n)
	return nil
}

// unchanged says whether there is surely nothing to tell of a room.
func (r *slide) unchanged(s *scoped, t toldRoom, since int64) bool {
	switch {
	case s.began > since, s.active > since, s.inside() && r.read[s.room]:
		return false
	case !t.inside:
		return true
	}
	direct := t.dm
	if s.inside() && (r.sorting.dms != nil || r.a.waker.users.changed(r.viewer.User, since)) {
		dms, err := r.directRooms()
		if err != nil {
			return false
		}
		direct = dms[s.id]
	}
	return direct == t.dm && s.limit <= t.limit && r.conn.wishes[t.wish].key == s.wishes.key
}

func (r *slide) wishIndex(w *wishes) int {
	c := connection{wishes: r.wishes}
	i := c.wishIndex(w)
	r.wishes = c.wishes
	return i
}

// findRead finds the rooms in which the user has read on since the client's position: their counts are told.
func (r *slide) findRead() error {
	r.read = make(map[roomserver.RoomNID]bool)
	if r.initial || r.ask.form == slidingStable {
		return nil
	}
	var rooms []roomserver.RoomNID
	for _, s := range r.scope {
		if t, known := r.conn.rooms[s.room]; known && t.upto == 0 && s.inside() {
			rooms = append(rooms, s.room)
		}
	}
	receipts, err := r.a.ephemeral.ReceiptsSince(r.tx, rooms, r.since.Pos, r.upto, r.viewer.User)
	if err != nil {
		return err
	}
	for _, receipt := range receipts {
		if receipt.User == r.viewer.User {
			r.read[receipt.Room] = true
		}
	}
	return nil
}
