package search

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Query asks for events.
//
// Spec: POST /_matrix/client/v3/search (Room Events Criteria).
type Query struct {
	Viewer roomserver.Viewer
	Text   string
	Keys   []string // content.body, content.name, content.topic; empty: all
	Filter account.RoomEventFilter
	Recent bool // the newest first, and not those that fit best
	Limit  int
	Next   string // where a result before it ended; empty: at the beginning
}

// Hit is an event that was found.
type Hit struct {
	Event *roomserver.ClientEvent
	Rank  float64
	doc   int64
	text  string
}

// Result is a page of what was found.
type Result struct {
	Hits       []Hit
	Count      int      // of all that was found, about
	Highlights []string // what to highlight in the texts
	Next       string   // for the next page; empty: there is none
	next       token
}

const (
	textMostAsked = 1000 // bytes of a search
	windowMost    = 1000 // proposals of the index that one search looks at
	chunkMost     = 250  // and of these at once, where few may be enough
	termsOr       = 256  // rooms or senders that the index itself is asked about
)

var keys = map[string]kind{"content.body": kindBody, "content.name": kindName, "content.topic": kindTopic}

// seeker is one search under way.
type seeker struct {
	*Search
	*Query
	m     *matcher
	rooms map[roomserver.RoomNID]matrix.RoomID // that may be looked at
	want  wanted
	at    token
}

// Find finds events that the viewer may see.
func (s *Search) Find(ctx context.Context, q Query) (*Result, error) {
	if len(q.Text) > textMostAsked {
		return nil, matrix.InvalidParam("search_term cannot be longer than %d bytes", textMostAsked)
	}
	k := &seeker{Search: s, Query: &q, m: newMatcher(q.Text)}
	if err := k.prepare(); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	var out *Result
	err := s.db.View(ctx, func(tx *store.Tx) error {
		var err error
		if k.rooms, err = s.readable(tx, &q); err != nil {
			return err
		}
		out, err = k.find(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Highlights = k.m.words()
	for _, h := range out.Hits {
		out.Highlights = k.m.spelled(out.Highlights, h.text)
	}
	return out, nil
}

// prepare reads the token and the keys.
func (k *seeker) prepare() error {
	var kinds []string
	for _, key := range k.Keys {
		found, ok := keys[key]
		if !ok {
			return matrix.InvalidParam("keys cannot be searched but content.body, content.name and content.topic")
		}
		kinds = append(kinds, found.term())
	}
	k.want.ask(k.m)
	if len(kinds) > 0 {
		k.want.any = append(k.want.any, kinds)
	}
	k.at = token{Window: maxDoc, Doc: maxDoc, Rank: maxRank}
	if k.Next == "" {
		return nil
	}
	at, err := parseToken(k.Next)
	if err != nil || at.Recent != k.Recent {
		return errors.Join(err, errToken)
	}
	k.at = at
	return nil
}

// find collects a page.
func (k *seeker) find(tx *store.Tx) (*Result, error) {
	out := &Result{Count: k.at.Count}
	k.narrow()
	if len(k.m.runs) == 0 || len(k.rooms) == 0 {
		return out, nil
	}
	if k.Recent {
		return out, k.findRecent(tx, out)
	}
	return out, k.findRanked(tx, out)
}

// narrow lets the index itself leave out what the filters do, where that is not too much to ask. Each
// event is held against the filters all the same.
func (k *seeker) narrow() {
	var rooms, senders []string
	for nid, id := range k.rooms {
		if k.at.Group == "room_id" && string(id) != k.at.Value {
			delete(k.rooms, nid)
			continue
		}
		k.want.rooms = append(k.want.rooms, int64(nid))
		rooms = append(rooms, roomTerm(nid))
	}
	for _, u := range k.Filter.Senders {
		senders = append(senders, senderTerm(u))
	}
	if k.at.Group == "sender" {
		senders = []string{senderTerm(k.at.Value)}
	}
	for _, any := range [][]string{rooms, senders} {
		if len(any) > 0 && len(any) <= termsOr {
			k.want.any = append(k.want.any, any)
		}
	}
}

// findRecent goes from the newest to the oldest. The first page also counts.
func (k *seeker) findRecent(tx *store.Tx, out *Result) error {
	first := k.Next == ""
	chunk := windowMost
	if !first {
		chunk = chunkMost
	}
	last, more, err := k.scan(tx, k.at.Doc, chunk, func(hits []Hit) (enough bool) {
		if first {
			out.Count += len(hits)
		}
		out.Hits = append(out.Hits, hits[:min(len(hits), k.Limit-len(out.Hits))]...)
		return !first && len(out.Hits) == k.Limit
	})
	switch {
	case err != nil:
		return err
	case len(out.Hits) == k.Limit:
		last = out.Hits[k.Limit-1].doc
	case !more:
		return nil
	}
	out.setNext(token{Recent: true, Doc: last, Count: out.Count, Group: k.at.Group, Value: k.at.Value})
	return nil
}

// findRanked orders what it finds in a window of the newest proposals, and when that is used up goes on
// to the next one.
func (k *seeker) findRanked(tx *store.Tx, out *Result) error {
	var all []Hit
	top := k.at.Window
	last, more, err := k.scan(tx, top, windowMost, func(hits []Hit) bool {
		all = append(all, hits...)
		return false
	})
	if err != nil {
		return err
	}
	if k.Next == "" {
		out.Count = len(all)
		if len(all) > 0 && top == maxDoc { // what comes in later does not move the pages
			top = all[0].doc + 1
		}
	}
	slices.SortFunc(all, func(a, b Hit) int { return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(b.doc, a.doc)) })
	for _, h := range all {
		if h.Rank > k.at.Rank || h.Rank == k.at.Rank && h.doc >= k.at.Doc {
			continue // on a page before
		}
		if len(out.Hits) == k.Limit {
			break
		}
		out.Hits = append(out.Hits, h)
	}
	next := token{Window: top, Count: out.Count, Group: k.at.Group, Value: k.at.Value}
	switch n := len(out.Hits); {
	case n == k.Limit:
		next.Rank, next.Doc = out.Hits[n-1].Rank, out.Hits[n-1].doc
	case more:
		next.Window, next.Rank, next.Doc = last, maxRank, maxDoc
	default:
		return nil
	}
	out.setNext(next)
	return nil
}

func (r *Result) setNext(t token) { r.next, r.Next = t, t.String() }

// NextIn is where to go on in a group of the result alone: in one room, or with one sender. It is empty
// where there is no next page.
func (r *Result) NextIn(group, value string) string {
	if r.Next == "" {
		return ""
	}
	t := r.next
	t.Group, t.Value = group, value
	return t.String()
}

// scan calls each for what the viewer finds among the next proposals, the newest first, until it has
// enough or the window is over. It tells which proposal was the last, and whether there are more.
func (k *seeker) scan(tx *store.Tx, before int64, chunk int, each func([]Hit) (enough bool)) (last int64, more bool, err error) {
	k.want.before, k.want.limit = before, chunk
	for range windowMost / chunk {
		list, err := k.texts.events(tx, k.want)
		if err != nil {
			return 0, false, err
		}
		hits, err := k.look(tx, list)
		if err != nil {
			return 0, false, err
		}
		if len(list) > 0 {
			last = list[len(list)-1].doc
		}
		if each(hits) || len(list) < chunk {
			return last, len(list) == chunk, nil
		}
		k.want.before = last
	}
	return last, true, nil
}

// look reads proposals, and keeps those that fit and that the viewer may see, in their order.
func (k *seeker) look(tx *store.Tx, list []found) ([]Hit, error) {
	nids := make([]int64, len(list))
	for i, f := range list {
		nids[i] = f.nid
	}
	events, err := k.Search.rooms.Events(tx, nids)
	if err != nil {
		return nil, err
	}
	items, err := k.Search.rooms.Items(tx, nids)
	if err != nil {
		return nil, err
	}
	fits := make(map[int64]Hit)
	byRoom := make(map[roomserver.RoomNID][]roomserver.Item)
	for _, f := range list {
		e, it := events[f.nid], items[f.nid]
		if e == nil || it.NID == 0 || e.RedactedBy != 0 || !k.passes(e) {
			continue
		}
		text, _ := textOf(e.Event)
		if rank := k.m.match(text); rank > 0 {
			fits[f.nid] = Hit{Rank: rank, doc: f.doc, text: text}
			byRoom[f.room] = append(byRoom[f.room], it)
		}
	}
	shown := make(map[int64]*roomserver.ClientEvent)
	for room, items := range byRoom {
		seen, err := k.Search.rooms.Render(tx, k.Viewer, room, items)
		if err != nil {
			return nil, err
		}
		for _, e := range seen {
			shown[e.NID] = e
		}
	}
	var hits []Hit
	for _, f := range list {
		if h := fits[f.nid]; shown[f.nid] != nil && shown[f.nid].Because == nil && !shown[f.nid].Bare {
			h.Event = shown[f.nid]
			hits = append(hits, h)
		}
	}
	return hits, nil
}

// passes holds an event against the filters. Rooms have been chosen already.
func (k *seeker) passes(e *roomserver.Event) bool {
	_, readable := k.rooms[e.Room]
	return readable && k.Filter.Matches(string(e.Sender()), e.Type()) &&
		(k.Filter.ContainsURL == nil || k.Filter.MatchesURL(e.HasURL())) &&
		(k.at.Group != "sender" || string(e.Sender()) == k.at.Value)
}
