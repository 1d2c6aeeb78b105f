package remote

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// What is asked of other servers for a client that reads history is bounded.
const (
	backfillTime     = 20 * time.Second // all questions together
	backfillAnswer   = 10 * time.Second // one of them
	backfillMost     = 100              // events that are asked for
	backfillBytes    = 16 << 20
	beginningsMost   = 8               // of branches whose state is asked for
	backfillAgain    = 2 * time.Minute // before a hole that nobody could fill is tried again
	backfillSoon     = 2 * time.Second // before one is where a server was away that may be back in a moment
	backfillHopeless = 1000            // such holes that are remembered
)

// Backfill fills a part of a hole in a room's timeline, for a client that reads on there. It gives whether
// there is more to read now. A hole that no server could fill is left for a while.
//
// Spec: SS "Backfilling and retrieving missing events"
func (r *Remote) Backfill(ctx context.Context, hole roomserver.Hole) (bool, error) {
	asker := ctx
	ctx, cancel := context.WithTimeout(ctx, backfillTime)
	defer cancel()
	release, err := r.filling.lock(ctx, hole.Room)
	if err != nil {
		return false, err
	}
	defer release()
	key := holeKey{hole.Room, hole.Seq}
	if until, ok := r.hopeless.Get(key); ok && r.now().Before(until) {
		return false, nil
	}
	rest := backfillAgain
	for _, server := range r.knowing(ctx, "", hole.Room) {
		n, err := r.backfillFrom(ctx, server, hole)
		if n > 0 {
			return true, nil
		}
		r.log.Debug("a server could not fill a hole", "server", server, "room", hole.Room, "error", err)
		if asker.Err() != nil { // nobody waited for it
			return false, asker.Err()
		}
		if peer.IsFleeting(err) {
			rest = backfillSoon
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.hopeless.Put(key, r.now().Add(rest), 1)
	return false, nil
}

// holeKey names a hole: it has another one once a part of it is filled.
type holeKey struct {
	room matrix.RoomID
	seq  int64
}

// backfillFrom asks one server, and gives how many events came of it.
//
// Spec: GET /_matrix/federation/v1/backfill/{roomId}
func (r *Remote) backfillFrom(ctx context.Context, server matrix.ServerName, hole roomserver.Hole) (int, error) {
	query := url.Values{"limit": {strconv.Itoa(backfillMost)}}
	for _, id := range hole.Missing[:min(len(hole.Missing), beginningsMost)] {
		query.Add("v", string(id))
	}
	var answer struct {
		PDUs []json.RawMessage `json:"pdus"`
	}
	err := r.client.Do(ctx, server, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/backfill", string(hole.Room)), Query: query,
		Into: &answer, Limit: backfillBytes, Timeout: backfillAnswer,
	})
	if err != nil {
		return 0, err
	}
	if len(answer.PDUs) > 2*backfillMost {
		answer.PDUs = answer.PDUs[:2*backfillMost]
	}
	events := inOrder(r.genuine(ctx, r.read(hole.Version, hole.Room, answer.PDUs)))
	told, err := r.beginnings(ctx, server, hole, events)
	if err != nil {
		return 0, err
	}
	return r.rooms.AddHistory(ctx, hole, events, told)
}

// beginnings learns the states before those events that have others before them which are neither here nor
// among the events, and makes known what the events refer to.
func (r *Remote) beginnings(ctx context.Context, server matrix.ServerName, hole roomserver.Hole, events []*rules.Event) (map[matrix.EventID][]matrix.EventID, error) {
	here := make(map[matrix.EventID]bool)
	var refers, before []matrix.EventID
	for _, e := range events {
		here[e.ID()] = true
		refers = append(refers, e.Auth()...)
		before = append(before, e.Prev()...)
	}
	told := make(map[matrix.EventID][]matrix.EventID)
	placed, err := r.rooms.Placed(ctx, hole.Room, before)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		lacks := false
		for _, id := range e.Prev() {
			lacks = lacks || !here[id] && !placed[id]
		}
		if !lacks || len(told) >= beginningsMost {
			continue
		}
		ids, err := r.stateBefore(ctx, server, hole.Version, hole.Room, e.ID())
		if err != nil {
			r.log.Debug("the state before an event of history could not be had", "server", server, "room", hole.Room, "event", e.ID(), "error", err)
			continue
		}
		told[e.ID()] = ids
	}
	unknown, err := r.rooms.Unknown(ctx, hole.Room, refers)
	if err != nil || len(unknown) == 0 {
		return told, err
	}
	byID := make(map[matrix.EventID]*rules.Event, len(events))
	for _, e := range events {
		byID[e.ID()] = e
	}
	var among []*rules.Event
	var fetch []matrix.EventID
	for _, id := range unknown {
		if e, ok := byID[id]; ok {
			among = append(among, e)
		} else {
			fetch = append(fetch, id)
		}
	}
	if err := r.fetch(ctx, server, hole.Version, hole.Room, fetch); err != nil {
		return nil, err
	}
	return told, r.keep(ctx, hole.Room, among)
}
