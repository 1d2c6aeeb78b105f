package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// What is asked of other servers to fill a gap is bounded.
const (
	fillTime      = 30 * time.Second // one question
	missingMost   = 20               // events that get_missing_events is asked for
	fillServers   = 4                // that are tried one after another
	singlyMost    = 500              // events that are fetched one by one; for more the whole state is
	singlyAtOnce  = 8
	maxMissing    = 4 << 20 // bytes of answers
	maxStateIDs   = 32 << 20
	maxEvent      = 1 << 20
	maxToldEvents = 500_000
)

// errNotFilled is given where no server told what is before an event.
var errNotFilled = errors.New("what is before the event could not be had")

// errMalformed is given where an event that is missing is none by the rules of the room.
var errMalformed = errors.New("an event that is missing is malformed")

// Receive takes a verified event into its room. Events before it that are missing are fetched: those between
// it and what is known here, as far as one question reaches, and then the state before the earliest of them.
// Nothing is adopted: every event is held against the rules, and states are resolved with ours.
//
// Spec: SS "Checks performed on receipt of a PDU", "Backfilling and retrieving missing events"
func (r *Remote) Receive(ctx context.Context, from matrix.ServerName, ev *rules.Event) (roomserver.Status, error) {
	status, err := r.rooms.Receive(ctx, ev)
	var gap *roomserver.Gap
	if !errors.As(err, &gap) {
		return status, err
	}
	if len(gap.Prev) > 0 {
		if err := r.between(ctx, from, ev, gap); err != nil {
			return 0, err
		}
	}
	return r.receiveOver(ctx, from, ev)
}

// between receives what is missing before an event. Where one of these cannot be received the event cannot be.
func (r *Remote) between(ctx context.Context, from matrix.ServerName, ev *rules.Event, gap *roomserver.Gap) error {
	events, err := r.missing(ctx, from, gap)
	if errors.Is(err, errMalformed) { // what comes behind it cannot be taken
		return err
	}
	if err != nil {
		r.log.Debug("a server does not tell what is missing", "server", from, "room", gap.Room, "event", gap.Event, "error", err)
		return nil
	}
	failed := make(map[matrix.EventID]error)
	for _, e := range append(events, ev) {
		for _, p := range e.Prev() {
			if err := failed[p]; err != nil {
				failed[e.ID()] = err
			}
		}
		if e == ev || failed[e.ID()] != nil {
			continue
		}
		if _, err := r.receiveOver(ctx, from, e); err != nil {
			failed[e.ID()] = fmt.Errorf("receive %s, which is missing: %w", e.ID(), err)
		}
	}
	return failed[ev.ID()]
}

// receiveOver takes an event, over a gap if there is one: with the state before it as another server tells it.
func (r *Remote) receiveOver(ctx context.Context, from matrix.ServerName, ev *rules.Event) (roomserver.Status, error) {
	take := func() (roomserver.Status, error) { return r.rooms.Receive(ctx, ev) }
	asked := false
	for {
		status, err := take()
		var gap *roomserver.Gap
		switch {
		case !errors.As(err, &gap):
			return status, err
		case len(gap.Prev) > 0:
			if take, err = r.overGap(ctx, from, ev, gap); err != nil {
				return 0, err
			}
		case asked:
			return 0, fmt.Errorf("%w: %d auth events of %s", errNotFilled, len(gap.Auth), ev.ID())
		default:
			asked = true
			if err := r.fetchAuth(ctx, from, gap); err != nil {
				return 0, err
			}
		}
	}
}

// overGap learns the state before an event from a server that knows it, and gives what takes the event with
// it. Where one event is missing before it, the state before that one is asked for, and it is fetched too.
func (r *Remote) overGap(ctx context.Context, from matrix.ServerName, ev *rules.Event, gap *roomserver.Gap) (func() (roomserver.Status, error), error) {
	var failed error
	for _, server := range r.knowing(ctx, from, gap.Room) {
		if len(gap.Prev) == 1 && len(ev.Prev()) == 1 {
			before, err := r.stateBefore(ctx, server, ev.Version(), gap.Room, gap.Prev[0])
			if err == nil {
				err = r.fetch(ctx, server, ev.Version(), gap.Room, gap.Prev)
			}
			if err == nil {
				return func() (roomserver.Status, error) { return r.rooms.ReceiveAfter(ctx, ev, before) }, nil
			}
			failed = errors.Join(failed, err)
			var refused *peer.Refused
			if !errors.As(err, &refused) { // it told a state that is not whole
				continue
			}
		}
		before, err := r.stateBefore(ctx, server, ev.Version(), gap.Room, ev.ID())
		if err == nil {
			return func() (roomserver.Status, error) { return r.rooms.ReceiveAt(ctx, ev, before) }, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("%w: %w", errNotFilled, failed)
}

// knowing are servers that may know about a room, the one first that brought an event.
func (r *Remote) knowing(ctx context.Context, from matrix.ServerName, room matrix.RoomID) []matrix.ServerName {
	servers := []matrix.ServerName{from}
	others, err := r.rooms.ServersOf(ctx, room)
	if err != nil {
		r.log.Warn("the servers of a room could not be read", "room", room, "error", err)
	}
	for _, s := range others {
		if s != from && len(servers) < fillServers {
			servers = append(servers, s)
		}
	}
	return servers
}

// missing asks for the events between what is known here and an event, the earliest first.
//
// Spec: POST /_matrix/federation/v1/get_missing_events/{roomId}
func (r *Remote) missing(ctx context.Context, from matrix.ServerName, gap *roomserver.Gap) ([]*rules.Event, error) {
	v, ends, err := r.rooms.Ends(ctx, gap.Room)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Events []json.RawMessage `json:"events"`
	}
	err = r.client.Do(ctx, from, peer.Request{
		Method: "POST", Path: peer.Path("/_matrix/federation/v1/get_missing_events", string(gap.Room)),
		Body: map[string]any{
			"earliest_events": ends, "latest_events": []matrix.EventID{gap.Event}, "limit": missingMost, "min_depth": 0,
		},
		Into: &answer, Limit: maxMissing, Timeout: fillTime,
	})
	if err != nil {
		return nil, err
	}
	if len(answer.Events) > 2*missingMost {
		answer.Events = answer.Events[:2*missingMost]
	}
	events := r.read(v, gap.Room, answer.Events)
	if len(events) < len(answer.Events) {
		return nil, errMalformed
	}
	if events, err = r.leading(ctx, gap, events); err != nil {
		return nil, err
	}
	return inOrder(r.genuine(ctx, events)), nil
}

// leading leaves of events those that lead from what is here to where something is missing. A server that does not know
// our ends, since the room was parted, tells what is before the fork as well, back to the beginning of a small room.
func (r *Remote) leading(ctx context.Context, gap *roomserver.Gap, events []*rules.Event) ([]*rules.Event, error) {
	ids := make([]matrix.EventID, len(events))
	byID := make(map[matrix.EventID]*rules.Event, len(events))
	for i, e := range events {
		ids[i], byID[e.ID()] = e.ID(), e
	}
	placed, err := r.rooms.Placed(ctx, gap.Room, ids)
	if err != nil {
		return nil, err
	}
	var out []*rules.Event
	for next := slices.Clone(gap.Prev); len(next) > 0; next = next[1:] {
		if e := byID[next[0]]; e != nil && !placed[next[0]] {
			out, next = append(out, e), append(next, e.Prev()...)
			delete(byID, e.ID())
		}
	}
	return out, nil
}

// read reads events of a room that another server gave. Those that are malformed, or of another room, are left
// out.
func (r *Remote) read(v *rules.Version, room matrix.RoomID, raw []json.RawMessage) []*rules.Event {
	events := make([]*rules.Event, 0, len(raw))
	for _, text := range raw {
		ev, err := rules.Read(v, text)
		if err != nil || ev.RoomID() != room {
			r.log.Debug("an event that another server gave is not taken", "room", room, "error", err)
			continue
		}
		events = append(events, ev)
	}
	return events
}

// genuine leaves out events that are not signed as they should be.
func (r *Remote) genuine(ctx context.Context, events []*rules.Event) []*rules.Event {
	out := make([]*rules.Event, 0, len(events))
	for _, checked := range r.keys.VerifyEvents(ctx, events) {
		if checked.Err != nil {
			r.log.Debug("an event that another server gave is not taken", "error", checked.Err)
			continue
		}
		out = append(out, checked.Event)
	}
	return out
}

// inOrder sorts events so that each comes after those before it, whatever depths they claim.
func inOrder(events []*rules.Event) []*rules.Event {
	byID := make(map[matrix.EventID]*rules.Event, len(events))
	for _, e := range events {
		byID[e.ID()] = e
	}
	out := make([]*rules.Event, 0, len(byID))
	var visit func(e *rules.Event)
	visit = func(e *rules.Event) {
		delete(byID, e.ID())
		for _, id := range e.Prev() {
			if p, ok := byID[id]; ok {
				visit(p)
			}
		}
		out = append(out, e)
	}
	for _, e := range events {
		if byID[e.ID()] == e {
			visit(e)
		}
	}
	return out
}

// fetchAuth fetches the auth events that an event lacks, with all behind them.
//
// Spec: GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}
func (r *Remote) fetchAuth(ctx context.Context, from matrix.ServerName, gap *roomserver.Gap) error {
	v, _, err := r.rooms.Ends(ctx, gap.Room)
	if err != nil {
		return err
	}
	err = r.keepTold(ctx, from, v, gap.Room, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/event_auth", string(gap.Room), string(gap.Event)), Timeout: fillTime,
	})
	if err != nil {
		r.log.Debug("a server does not tell what an event refers to", "server", from, "room", gap.Room, "event", gap.Event, "error", err)
		return r.fetch(ctx, from, v, gap.Room, gap.Auth)
	}
	return nil
}

// keep keeps events that are needed as auth events or parts of a state. Those that are here already are not
// verified once more.
func (r *Remote) keep(ctx context.Context, room matrix.RoomID, events []*rules.Event) error {
	ids := make([]matrix.EventID, len(events))
	byID := make(map[matrix.EventID]*rules.Event, len(events))
	for i, ev := range events {
		ids[i], byID[ev.ID()] = ev.ID(), ev
	}
	unknown, err := r.rooms.Unknown(ctx, room, ids)
	if err != nil || len(unknown) == 0 {
		return err
	}
	wanted := make([]*rules.Event, len(unknown))
	for i, id := range unknown {
		wanted[i] = byID[id]
	}
	return r.rooms.KeepOutliers(ctx, room, r.genuine(ctx, wanted))
}

// stateBefore learns the state before an event, and makes all of it known here.
//
// Spec: GET /_matrix/federation/v1/state_ids/{roomId}, GET /_matrix/federation/v1/state/{roomId}
func (r *Remote) stateBefore(ctx context.Context, server matrix.ServerName, v *rules.Version, room matrix.RoomID, event matrix.EventID) ([]matrix.EventID, error) {
	var told struct {
		State []matrix.EventID `json:"pdu_ids"`
		Chain []matrix.EventID `json:"auth_chain_ids"`
	}
	query := url.Values{"event_id": {string(event)}}
	err := r.client.Do(ctx, server, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/state_ids", string(room)), Query: query,
		Into: &told, Limit: maxStateIDs, Timeout: fillTime,
	})
	if err != nil {
		return nil, fmt.Errorf("ask for the state before %s: %w", event, err)
	}
	all := append(slices.Clone(told.Chain), told.State...)
	if len(told.State) == 0 && len(told.Chain) > 0 || len(all) > maxToldEvents { // before the create event is nothing
		return nil, fmt.Errorf("the state before %s that %s tells has %d events", event, server, len(told.State))
	}
	unknown, err := r.rooms.Unknown(ctx, room, all)
	if err != nil {
		return nil, err
	}
	if len(unknown) > singlyMost {
		err = r.wholeState(ctx, server, v, room, query)
	} else {
		err = r.fetch(ctx, server, v, room, unknown)
	}
	if err != nil {
		return nil, err
	}
	if unknown, err = r.rooms.Unknown(ctx, room, told.State); err == nil && len(unknown)*20 > len(told.State) {
		err = fmt.Errorf("%s cannot give %d of %d events of the state before %s", server, len(unknown), len(told.State), event)
	}
	return told.State, err
}

// wholeState fetches a state with all that it refers to.
func (r *Remote) wholeState(ctx context.Context, server matrix.ServerName, v *rules.Version, room matrix.RoomID, query url.Values) error {
	err := r.keepTold(ctx, server, v, room, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/state", string(room)), Query: query, Timeout: 4 * fillTime,
	})
	if err != nil {
		return fmt.Errorf("ask for a state: %w", err)
	}
	return nil
}

// fetch fetches events one by one, with the auth events that they lack in turn, and keeps them.
//
// Spec: GET /_matrix/federation/v1/event/{eventId}
func (r *Remote) fetch(ctx context.Context, server matrix.ServerName, v *rules.Version, room matrix.RoomID, ids []matrix.EventID) error {
	asked := make(map[matrix.EventID]bool)
	var got []*rules.Event
	for len(ids) > 0 && len(asked)+len(ids) <= 2*singlyMost {
		for _, id := range ids {
			asked[id] = true
		}
		found := r.read(v, room, r.events(ctx, server, ids))
		got = append(got, found...)
		var refers []matrix.EventID
		for _, ev := range found {
			refers = append(refers, ev.Auth()...)
		}
		unknown, err := r.rooms.Unknown(ctx, room, refers)
		if err != nil {
			return err
		}
		slices.Sort(unknown)
		ids = slices.DeleteFunc(slices.Compact(unknown), func(id matrix.EventID) bool { return asked[id] })
	}
	return r.keep(ctx, room, got)
}

// events fetches events, some at once. Those that are not to be had are left out.
func (r *Remote) events(ctx context.Context, server matrix.ServerName, ids []matrix.EventID) []json.RawMessage {
	found := make([]json.RawMessage, len(ids))
	var g errgroup.Group
	g.SetLimit(singlyAtOnce)
	for i, id := range ids {
		g.Go(func() error {
			found[i] = r.event(ctx, server, id)
			return nil
		})
	}
	_ = g.Wait() // a failure leaves a place empty
	return slices.DeleteFunc(found, func(text json.RawMessage) bool { return text == nil })
}

// event fetches one event, nil where it cannot be had.
func (r *Remote) event(ctx context.Context, server matrix.ServerName, id matrix.EventID) json.RawMessage {
	var answer struct {
		PDUs []json.RawMessage `json:"pdus"`
	}
	err := r.client.Do(ctx, server, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/event", string(id)), Into: &answer, Limit: maxEvent, Timeout: fillTime,
	})
	if err != nil || len(answer.PDUs) != 1 {
		r.log.Debug("an event could not be fetched", "server", server, "event", id, "error", err)
		return nil
	}
	return answer.PDUs[0]
}
