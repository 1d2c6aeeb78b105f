package roomserver

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
	"astrocyte/testkit"
)

// site is a server of a test, without doors: events go from site to site as bytes.
type site struct {
	*Rooms
	t     testing.TB
	clock atomic.Int64

	leaveOut string // a type of events that it does not tell to who joins
}

// open makes a site on a database of its own.
func openSite(t testing.TB, name matrix.ServerName, dsn string) *site {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t}
	s.clock.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	s.Rooms = New(Options{
		DB: testkit.DB(t, dsn), Server: name, KeyID: "ed25519:1", Key: key, Memory: 64 << 20,
		Now: func() time.Time { return time.UnixMilli(s.clock.Add(1)) }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// as reads an event as another site is given it.
func as(t testing.TB, e *rules.Event) *rules.Event {
	t.Helper()
	got, err := rules.Read(e.Version(), e.Bytes())
	if err != nil {
		t.Fatalf("%s cannot be read by others: %v", e.ID(), err)
	}
	if got.ID() != e.ID() {
		t.Fatalf("%s is %s to others", e.ID(), got.ID())
	}
	return got
}

// template builds an event on top of the room as this site has it, without sending it.
func (s *site) template(d Draft) *rules.Event {
	s.t.Helper()
	nid, err := s.find(s.t.Context(), d.Room)
	if err != nil {
		s.t.Fatal(err)
	}
	var made *rules.Event
	err = s.commit(s.t.Context(), []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		auth, err := b.authEvents(h, &d)
		if err != nil {
			return err
		}
		e, err := b.build(h, &d, auth)
		if err != nil {
			return err
		}
		made = e.Event
		return matrix.NotFound("nothing is sent")
	})
	if made == nil {
		s.t.Fatalf("build a template: %v", err)
	}
	return made
}

// admit lets a user of another site join through this one.
func (s *site) admit(to *site, room matrix.RoomID, user matrix.UserID) {
	s.t.Helper()
	if err := to.Import(s.t.Context(), s.lets(to, room, user)); err != nil {
		s.t.Fatalf("%s cannot import the room: %v", to.server, err)
	}
}

// inParts tells a room in parts of a few events.
func inParts(room matrix.RoomID, chain, state []*rules.Event) iter.Seq2[[]Piece, error] {
	return func(yield func([]Piece, error) bool) {
		for some := range slices.Chunk(byAuth(room, slices.Concat(chain, state)), 7) {
			part := make([]Piece, len(some))
			for i, e := range some {
				is := func(s *rules.Event) bool { return s.ID() == e.ID() }
				part[i] = Piece{Event: e, State: slices.ContainsFunc(state, is)}
			}
			if !yield(part, nil) {
				return
			}
		}
	}
}

// get reads an event of this site.
func (s *site) get(id matrix.EventID) *Event {
	s.t.Helper()
	var e *Event
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error {
		nid, _, ok, err := eventNID(tx, id)
		if err != nil || !ok {
			return err
		}
		es, err := s.load(tx, []int64{nid})
		e = es[nid]
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// deliver gives this site an event of another one, and what it lacks: by walking back over a few events,
// or else with the state before it.
func (s *site) deliver(from *site, room matrix.RoomID, id matrix.EventID, rnd *rand.Rand) (Status, error) {
	ctx := s.t.Context()
	ev := as(s.t, from.get(id).Event)
	var gap *Gap
	status, err := s.Receive(ctx, ev)
	if !errors.As(err, &gap) {
		return status, err
	}
	var between []*rules.Event
	err = from.db.View(ctx, func(tx *store.Tx) error {
		h, _, err := from.headByID(tx, room)
		if err != nil {
			return err
		}
		events, err := from.walk(tx, h, Walk{From: []matrix.EventID{id}, Until: s.extremitiesOf(room), Limit: rnd.IntN(6)})
		for _, e := range slices.Backward(events) {
			between = append(between, as(s.t, e.Event))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, e := range append(between, ev) {
		if status, err = s.Receive(ctx, e); errors.As(err, &gap) {
			status, err = s.receiveAt(from, room, e)
		}
		if err != nil {
			return 0, err
		}
	}
	return status, err
}

// receiveAt takes an event with the state that another site tells.
func (s *site) receiveAt(from *site, room matrix.RoomID, ev *rules.Event) (Status, error) {
	ctx := s.t.Context()
	e := from.get(ev.ID())
	if e == nil || !e.settled() {
		return 0, fmt.Errorf("%s does not know the state before %s", from.server, ev.ID())
	}
	var entries []int64
	err := from.db.View(ctx, func(tx *store.Tx) error {
		st, err := from.states.Load(tx, e.SnapBefore)
		entries = eventNIDs(st)
		return err
	})
	if err != nil {
		return 0, err
	}
	chain, err := from.graphs.Chain(int64(e.Room), append(entries, e.AuthNIDs...), from.source(ctx, e.Room, nil))
	if err != nil {
		return 0, err
	}
	var all []*rules.Event
	err = from.Each(ctx, chain, func(e *rules.Event) error {
		all = append(all, as(s.t, e))
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := s.KeepOutliers(ctx, room, all); err != nil {
		return 0, err
	}
	ids, err := from.IDs(ctx, entries)
	if err != nil {
		return 0, err
	}
	return s.ReceiveAt(ctx, ev, ids)
}

func (s *site) headRow(tx *store.Tx, room matrix.RoomID) (headRow, error) {
	nid, _, err := s.NID(tx, room)
	if err != nil {
		return headRow{}, err
	}
	rows, err := readHeads(tx, []int64{int64(nid)}, false)
	if err != nil || len(rows) != 1 {
		return headRow{}, fmt.Errorf("%d heads of %s: %w", len(rows), room, err)
	}
	return rows[0], nil
}

// extremitiesOf are the ids of the room's extremities.
func (s *site) extremitiesOf(room matrix.RoomID) []matrix.EventID {
	s.t.Helper()
	var ids []matrix.EventID
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error {
		row, err := s.headRow(tx, room)
		if err != nil {
			return err
		}
		nids, err := decodeNIDs(row.nid.Shard(), row.extremities)
		if err != nil {
			return err
		}
		found, err := readIDs(tx, nids)
		ids = slices.Sorted(maps.Values(found))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return ids
}

// stateOf is the current state of a room: ids by type and key.
func (s *site) stateOf(room matrix.RoomID) map[rules.StateKey]matrix.EventID {
	s.t.Helper()
	out := make(map[rules.StateKey]matrix.EventID)
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error {
		row, err := s.headRow(tx, room)
		if err != nil {
			return err
		}
		st, err := s.states.Load(tx, row.snap)
		if err != nil {
			return err
		}
		events, err := s.Events(tx, eventNIDs(st))
		for _, e := range events {
			key, _ := e.StateKey()
			out[rules.StateKey{Type: e.Type(), Key: key}] = e.ID()
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// checkMembers holds the tables of members against the current state.
func (s *site) checkMembers(room matrix.RoomID) {
	s.t.Helper()
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error {
		row, err := s.headRow(tx, room)
		if err != nil {
			return err
		}
		st, err := s.states.Load(tx, row.snap)
		if err != nil {
			return err
		}
		want := make(map[matrix.UserID]matrix.Membership)
		servers := make(map[matrix.ServerName]int64)
		counts := make(map[matrix.Membership]int64)
		events, err := s.Events(tx, eventNIDs(st))
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Type() == "m.room.member" {
				user, _ := e.StateKey()
				want[matrix.UserID(user)] = e.Membership()
				counts[e.Membership()]++
				if e.Membership() == matrix.Join {
					servers[matrix.UserID(user).Server()]++
				}
			}
		}
		if row.joined != counts[matrix.Join] || row.invited != counts[matrix.Invite] {
			s.t.Errorf("%s counts %d joined and %d invited, want %d and %d", s.server, row.joined, row.invited, counts[matrix.Join], counts[matrix.Invite])
		}
		err = store.Each(tx, func(r store.Row) error {
			var user matrix.UserID
			var m string
			if err := r.Scan(&user, &m); err != nil {
				return err
			}
			if is, ok := want[user]; ok && is != matrix.Membership(m) || !ok && m != "leave" {
				s.t.Errorf("%s has %s as %s, the state says %q", s.server, user, m, is)
			}
			delete(want, user)
			return nil
		}, `SELECT user_id, membership FROM members WHERE shard = $1 AND room_nid = $2`, row.nid.Shard(), int64(row.nid))
		if len(want) > 0 {
			s.t.Errorf("%s has no rows for the members %v", s.server, want)
		}
		if err != nil {
			return err
		}
		for name, n := range servers {
			got, _, err := store.One(tx, scanNID, `SELECT joined FROM room_servers WHERE shard = $1 AND room_nid = $2 AND server = $3`,
				row.nid.Shard(), int64(row.nid), string(name))
			if err != nil || got != n {
				s.t.Errorf("%s counts %d members of %s, want %d: %v", s.server, got, name, n, err)
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
