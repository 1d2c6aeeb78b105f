package syncapi

import (
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/roomserver/state"
)

// stripped says whether the user has to do with a room from outside only: an invite, a knock, and what became of
// them.
func (s *scoped) stripped() bool {
	return s.membership == matrix.Invite || s.membership == matrix.Knock
}

// tellRoom tells what is new of a room; nil: nothing. next is what the client knows of it with the answer.
func (r *slide) tellRoom(s *scoped, next *toldRoom, t toldRoom, known bool, since int64) (*slidRoom, error) {
	switch {
	case s.inside():
		return r.tellInside(s, next, t, known, since)
	case s.stripped():
		return r.tellStripped(s)
	}
	p, err := r.pastOf(s.listed)
	if err != nil {
		return nil, err
	}
	if p == nil {
		next.inside = false
		return r.tellRefused(s)
	}
	return r.tellPast(s, p, next, t, known, since)
}

// view is the reading of one room.
type view struct {
	reading // as of the position from which on things are new
	s       *scoped
	span    span
	past    *pastRoom    // the room is one of the past, and told to its end
	old     *state.State // as the client knows it; nil: it knows nothing
	end     *state.State
	was     *wishes // what the client wanted to know before
	gap     bool    // there are events between what the client has and what it is told
	fresh   bool    // the client knows nothing of the room, or nothing that counts
	n       *slidRoom

	membersChanged, nameChanged, avatarChanged bool
}

// viewOf begins the reading of a room.
func (r *slide) viewOf(s *scoped, p *pastRoom, t toldRoom, known bool, since int64) (*view, error) {
	v := &view{reading: r.reading, s: s, n: &slidRoom{}}
	v.since.Pos, v.initial, v.filter = since, false, slidingFilter(s.limit)
	v.sentTo = nil
	fresh := !known || !t.inside
	switch {
	case fresh:
	case p != nil && p.Pos <= since: // all that they may see is told, but for how the membership ends
		v.past = p
	default:
		was, err := v.wasJoined(s.room, s.began)
		if err != nil {
			return nil, err
		}
		fresh = !was
	}
	if v.fresh = fresh; !fresh {
		v.was = r.conn.wishes[t.wish]
	}
	v.n.initial = fresh
	return v, nil
}

// placeAt finds the newest place of a room at a position.
func (r *reading) placeAt(room roomserver.RoomNID, pos int64) (roomserver.Item, bool, error) {
	now, err := r.recent(room, 0)
	if err != nil {
		return roomserver.Item{}, false, err
	}
	for _, it := range now.items {
		if it.Pos <= pos && it.Pos > 0 {
			return it, true, nil
		}
	}
	return r.a.rooms.At(r.tx, room, pos)
}

// tellInside tells of a room that the user is in.
func (r *slide) tellInside(s *scoped, next *toldRoom, t toldRoom, known bool, since int64) (*slidRoom, error) {
	v, err := r.viewOf(s, nil, t, known, since)
	if err != nil {
		return nil, err
	}
	now, err := v.recent(s.room, 0)
	if err != nil {
		return nil, err
	}
	v.n.head = now.head
	v.span = span{room: s.room, above: since, below: beyond, now: now.head.Snap, since: since}
	if err := r.tellEvents(v, next, t); err != nil {
		return nil, err
	}
	if v.fresh || v.renamed() {
		joined, invited := now.head.Joined, now.head.Invited
		v.n.joined, v.n.invited = &joined, &invited
		if err := v.tellHeroes(); err != nil {
			return nil, err
		}
	}
	dms, err := r.directRooms()
	if err != nil {
		return nil, err
	}
	if next.dm = dms[s.id]; next.dm != t.dm || v.fresh && next.dm {
		v.n.dm = &next.dm
	}
	if !v.fresh && !v.n.worthTelling() && !r.read[s.room] {
		return nil, nil
	}
	return v.n, nil
}

// tellPast tells of a room that the user was in, up to when they were in it last: of what came later they are
// told nothing but the end of their membership.
func (r *slide) tellPast(s *scoped, p *pastRoom, next *toldRoom, t toldRoom, known bool, since int64) (*slidRoom, error) {
	v, err := r.viewOf(s, p, t, known, since)
	if err != nil {
		return nil, err
	}
	v.span = span{room: s.room, above: since, below: p.Seq + 1, now: p.Snap, since: since}
	if err := r.tellEvents(v, next, t); err != nil {
		return nil, err
	}
	own, err := r.ownMember(s)
	if err != nil {
		return nil, err
	}
	if !v.n.worthTelling() && !v.fresh && s.began <= since {
		return nil, nil
	}
	v.n.addState(own)
	return v.n, nil
}

// ownMember is the event that ended the user's membership.
func (r *slide) ownMember(s *scoped) ([]*roomserver.ClientEvent, error) {
	u, _, err := r.a.rooms.UserRoom(r.tx, r.viewer.User, s.room)
	if err != nil {
		return nil, fmt.Errorf("read the membership in %s: %w", s.id, err)
	}
	return r.a.rooms.RenderState(r.tx, r.viewer, []int64{u.Event})
}

// addState adds state events that are not told yet.
func (n *slidRoom) addState(events []*roomserver.ClientEvent) {
	for _, e := range events {
		there := false
		for _, o := range n.state {
			there = there || o.NID == e.NID
		}
		if !there {
			n.state = append(n.state, e)
		}
	}
}

// tellStripped tells of an invite or a knock.
func (r *slide) tellStripped(s *scoped) (*slidRoom, error) {
	u, _, err := r.a.rooms.UserRoom(r.tx, r.viewer.User, s.room)
	if err != nil {
		return nil, fmt.Errorf("read the invite to %s: %w", s.id, err)
	}
	n := &slidRoom{initial: true, stripped: u.Stripped}
	if len(n.stripped) == 0 {
		n.stripped = []byte("[]")
	}
	return n, nil
}

// tellRefused tells of an invite or a knock that came to nothing: the user was never in the room.
func (r *slide) tellRefused(s *scoped) (*slidRoom, error) {
	own, err := r.ownMember(s)
	if err != nil {
		return nil, err
	}
	n := &slidRoom{initial: true}
	if r.ask.form == slidingUnstable {
		n.state = own
		return n, nil
	}
	list := []roomserver.Stripped{}
	for _, e := range own {
		key, _ := e.StateKey()
		list = append(list, roomserver.Stripped{Content: e.Shown.Content(), Sender: e.Sender(), StateKey: key, Type: e.Type()})
	}
	if n.stripped, err = json.Marshal(list); err != nil {
		return nil, fmt.Errorf("write stripped state: %w", err)
	}
	return n, nil
}

// worthTelling says whether anything was found that is new.
func (n *slidRoom) worthTelling() bool {
	return n.initial || n.expanded || n.name != nil || n.avatar != nil || n.dm != nil || n.joined != nil || len(n.state) > 0 || len(n.gone) > 0 ||
		n.timeline != nil && (len(n.timeline.events) > 0 || n.timeline.limited && n.timeline.moved)
}

// tellEvents tells the timeline of a span and the state behind it.
func (r *slide) tellEvents(v *view, next *toldRoom, t toldRoom) error {
	s := v.s
	expanded := !v.fresh && s.limit > t.limit
	v.span.fresh = v.fresh
	if v.fresh || expanded {
		v.span.above = everything
	}
	var err error
	if v.end, err = v.a.rooms.State(v.tx, v.span.now); err != nil {
		return fmt.Errorf("load state %d: %w", v.span.now, err)
	}
	place, ok, err := v.placeAt(s.room, v.span.since)
	if err != nil {
		return err
	}
	if v.past != nil {
		place, ok = v.past.Item, true
	}
	if !v.fresh && ok {
		if v.old, err = v.a.rooms.State(v.tx, place.Snap); err != nil {
			return fmt.Errorf("load state %d: %w", place.Snap, err)
		}
	}
	if v.fresh || expanded || s.active > v.span.since || s.began > v.span.since {
		if v.n.timeline, err = v.readTimeline(v.span); err != nil {
			return err
		}
		v.noteTimeline(place.Seq, expanded)
	}
	if next.limit = t.limit; v.fresh || expanded || v.gap {
		next.limit = s.limit
	}
	if err := r.countLive(v); err != nil {
		return err
	}
	return r.tellState(v)
}

// noteTimeline finds out how the timeline that is told goes on from what the client has.
func (v *view) noteTimeline(had int64, expanded bool) {
	tl := v.n.timeline
	if len(tl.events) > 0 {
		v.n.firstSeq = tl.events[0].Seq
	}
	v.gap = tl.limited && (v.n.firstSeq == 0 || v.n.firstSeq > had+1)
	if expanded {
		v.n.expanded = v.n.firstSeq > 0 && v.n.firstSeq <= had
	}
}

// countLive counts the events that came after the position that the client shows.
func (r *slide) countLive(v *view) error {
	tl := v.n.timeline
	if tl == nil || r.initial || len(tl.events) == 0 {
		return nil
	}
	place, ok, err := v.placeAt(v.s.room, r.since.Pos)
	if err != nil {
		return err
	}
	for _, e := range tl.events {
		if !ok || e.Seq > place.Seq {
			v.n.live++
		}
	}
	return nil
}

// textIn is a member of the content of a state event that people may still see; empty: there is none.
func textIn(e *roomserver.Event, member string) string {
	if e == nil || e.RedactedBy != 0 {
		return ""
	}
	value, _ := canonicaljson.Field(e.Content(), member)
	text, _ := canonicaljson.Text(value)
	return text
}
