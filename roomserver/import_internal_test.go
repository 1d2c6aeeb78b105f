package roomserver

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
	"astrocyte/testkit"
)

// lets lets a user of another site join, and gives what that one is answered.
func (s *site) lets(to *site, room matrix.RoomID, user matrix.UserID) Import {
	s.t.Helper()
	ctx := s.t.Context()
	key := string(user)
	join := s.template(Draft{Room: room, Sender: user, Type: "m.room.member", StateKey: &key, Content: []byte(`{"membership":"join"}`)})
	join = join.Sign(s.server, s.keyID, s.key).Sign(to.server, to.keyID, to.key)
	if st, err := s.Receive(ctx, as(s.t, join)); err != nil || st != Accepted {
		s.t.Fatalf("%s does not let %s in: %v, %v", s.server, user, st, err)
	}
	told, err := s.StateBefore(ctx, room, join.ID(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	var chain, state []*rules.Event
	for list, nids := range map[*[]*rules.Event][]int64{&state: told.State, &chain: told.AuthChain} {
		err := s.Each(ctx, nids, func(e *rules.Event) error {
			if e.Type() != s.leaveOut {
				*list = append(*list, as(s.t, e))
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return Import{Room: room, Version: join.Version(), Join: as(s.t, join), Parts: inParts(room, chain, state)}
}

// breaksOff tells a room up to a part.
func breaksOff(parts iter.Seq2[[]Piece, error], after int, why error) iter.Seq2[[]Piece, error] {
	return func(yield func([]Piece, error) bool) {
		n := 0
		for part, err := range parts {
			if n++; n > after {
				yield(nil, why)
				return
			}
			if !yield(part, err) {
				return
			}
		}
	}
}

// lacks tells a room without the events of a type.
func lacks(parts iter.Seq2[[]Piece, error], tp string) iter.Seq2[[]Piece, error] {
	return func(yield func([]Piece, error) bool) {
		for part, err := range parts {
			part = slices.DeleteFunc(slices.Clone(part), func(p Piece) bool { return p.Type() == tp })
			if !yield(part, err) {
				return
			}
		}
	}
}

// TestImportThatEndsHalfWay has a server join a room whose answer breaks off. By the next time members have left and
// others have come: of the first time nothing is left but events that nobody sees.
func TestImportThatEndsHalfWay(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		a, b := openSite(t, "a.example", testkit.SQLite(t)), openSite(t, "b.example", dsn)
		room, err := a.Create(ctx, Creation{Creator: "@creator:a.example", Version: "12", Preset: PublicChat})
		if err != nil {
			t.Fatal(err)
		}
		member := func(i int, m matrix.Membership) {
			user := matrix.UserID(fmt.Sprintf("@u%d:a.example", i))
			if _, err := a.SetMembership(ctx, Change{Room: room, Sender: user, Target: user, Membership: m}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			member(i, matrix.Join)
		}
		lacking := a.lets(b, room, "@first:b.example")
		lacking.Parts = lacks(lacking.Parts, "m.room.power_levels")
		var refused *matrix.Error
		if err := b.Import(ctx, lacking); !errors.As(err, &refused) {
			t.Fatalf("an answer that lacks what the join refers to: %v", err)
		}
		broken := errors.New("the line is broken")
		for n := range 4 {
			j := a.lets(b, room, "@bob:b.example")
			j.Parts = breaksOff(j.Parts, n, broken)
			if err := b.Import(ctx, j); !errors.Is(err, broken) {
				t.Fatalf("an answer that breaks off: %v", err)
			}
			if in, err := b.Resident(ctx, room); in || err != nil {
				t.Fatalf("the server is in the room: %v, %v", in, err)
			}
			member(n, matrix.Leave)
			member(20+n, matrix.Join)
			bob := matrix.UserID("@bob:b.example")
			if _, err := a.SetMembership(ctx, Change{Room: room, Sender: "@creator:a.example", Target: bob, Membership: matrix.Leave}); err != nil {
				t.Fatal(err)
			}
		}
		j := a.lets(b, room, "@bob:b.example")
		if err := b.Import(ctx, j); err != nil {
			t.Fatal(err)
		}
		b.checkMembers(room)
		if x, y := a.stateOf(room), b.stateOf(room); !maps.Equal(x, y) {
			t.Errorf("the states are\n%v\n%v", x, y)
		}
		if err := b.Import(ctx, j); !errors.Is(err, ErrInside) {
			t.Errorf("to enter once more: %v", err)
		}
	})
}

// TestAbandonedEntryIsForgotten has an entry cut short, by which a room is partly known. When nobody has tried again it is
// removed, and can be entered as ever; a room that was entered stays.
func TestAbandonedEntryIsForgotten(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		a, b := openSite(t, "a.example", testkit.SQLite(t)), openSite(t, "b.example", dsn)
		room, err := a.Create(ctx, Creation{Creator: "@creator:a.example", Version: "12", Preset: PublicChat})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			user := matrix.UserID(fmt.Sprintf("@u%d:a.example", i))
			if _, err := a.SetMembership(ctx, Change{Room: room, Sender: user, Target: user, Membership: matrix.Join}); err != nil {
				t.Fatal(err)
			}
		}
		forgets := func() {
			t.Helper()
			if err := b.ForgetEntry(ctx, store.Job{Kind: JobAbandoned, Key: string(room)}); err != nil {
				t.Fatal(err)
			}
		}
		v, _ := rules.ByID("12")
		done, err := b.Expect(ctx, room, v)
		if err != nil {
			t.Fatal(err)
		}
		j := a.lets(b, room, "@bob:b.example")
		broken := errors.New("the line is broken")
		whole := j.Parts
		j.Parts = breaksOff(whole, 1, broken)
		if err := b.Import(ctx, j); !errors.Is(err, broken) {
			t.Fatalf("an answer that breaks off: %v", err)
		}
		kept := b.leftOf(room)
		if kept == 0 {
			t.Fatal("nothing was kept of the entry")
		}
		forgets()
		if n := b.leftOf(room); n != kept {
			t.Errorf("while it is being entered %d rows are left of %d", n, kept)
		}
		done()
		forgets()
		if n := b.leftOf(room); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		forgets() // as after a crash
		if done, err = b.Expect(ctx, room, v); err != nil {
			t.Fatal(err)
		}
		j.Parts = whole
		if err := b.Import(ctx, j); err != nil {
			t.Fatal(err)
		}
		done()
		forgets()
		b.checkMembers(room)
		if x, y := a.stateOf(room), b.stateOf(room); !maps.Equal(x, y) {
			t.Errorf("the states are\n%v\n%v", x, y)
		}
	})
}

// leftOf counts the rows that this site has of the inside of a room.
func (s *site) leftOf(room matrix.RoomID) (n int) {
	s.t.Helper()
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error {
		n = 0
		nid, known, err := s.NID(tx, room)
		if err != nil || !known {
			return err
		}
		heads, err := readHeads(tx, []int64{int64(nid)}, false)
		if err != nil {
			return err
		}
		users, servers, err := membersElsewhere(tx, nid, s.server, 1000)
		if err != nil {
			return err
		}
		events, err := eventsAfter(tx, nid, 0, 1000)
		n = len(heads) + len(users) + len(servers) + len(events)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
