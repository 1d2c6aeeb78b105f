package search

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

func (w *world) joins(user matrix.UserID, room matrix.RoomID) {
	w.member(user, user, room, matrix.Join)
}

func (w *world) member(sender, target matrix.UserID, room matrix.RoomID, m matrix.Membership) {
	w.t.Helper()
	_, err := w.rooms.SetMembership(w.t.Context(), roomserver.Change{Room: room, Sender: sender, Target: target, Membership: m})
	if err != nil {
		w.t.Fatal(err)
	}
}

// indexed counts the documents that have a term, whoever may see them.
func (w *world) indexed(text string) (n int) {
	w.t.Helper()
	if err := w.settle(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	q := wanted{before: maxDoc, limit: 1000}
	q.ask(newMatcher(text))
	w.view(func(tx *store.Tx) error {
		rooms, err := store.Select(tx, scanInt, `SELECT room_nid FROM rooms`)
		if err != nil {
			return err
		}
		q.rooms = rooms
		list, err := w.texts.events(tx, q)
		n = len(list)
		return err
	})
	return n
}

func TestRedactedMessagesAreNotFound(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		room := w.creates(alice, roomserver.PrivateChat)
		gone, stays := w.says(alice, room, "canary yellow"), w.says(alice, room, "canary green")
		if n := w.indexed("canary"); n != 2 {
			t.Fatalf("%d events are indexed", n)
		}
		w.redacts(alice, room, gone)
		if got := ids(w.finds(Query{Text: "canary"})); !slices.Equal(got, []matrix.EventID{stays}) {
			t.Errorf("found %v", got)
		}
		if n := w.indexed("yellow"); n != 0 {
			t.Errorf("%d redacted events are indexed", n)
		}
	})
}

// purges removes what was said before an event.
func (w *world) purges(room matrix.RoomID, before matrix.EventID) {
	w.t.Helper()
	end, err := w.rooms.PurgePlace(w.t.Context(), room, roomserver.Bound{Event: before})
	for place := int64(-1); err == nil && place < end; {
		place, err = w.rooms.PurgeHistory(w.t.Context(), room, place, end, true)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestPurgedMessagesLeaveTheIndex(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		room := w.creates(alice, roomserver.PrivateChat)
		w.says(alice, room, "canary yellow")
		stays := w.says(alice, room, "canary green")
		w.says(alice, room, "the end") // the newest event is never purged
		if n := w.indexed("canary"); n != 2 {
			t.Fatalf("%d events are indexed", n)
		}
		w.purges(room, stays)
		if n := w.indexed("yellow"); n != 0 {
			t.Errorf("%d purged events are indexed", n)
		}
		if got := ids(w.finds(Query{Text: "canary"})); !slices.Equal(got, []matrix.EventID{stays}) {
			t.Errorf("found %v", got)
		}
		// A follower that read an event before it was purged does not bring it back.
		late := w.says(alice, room, "canary blue")
		var passed []roomserver.Passed
		w.view(func(tx *store.Tx) error {
			nid, _, err := w.rooms.NID(tx, room)
			if err != nil {
				return err
			}
			it, _, err := w.rooms.Place(tx, nid, late)
			if err != nil {
				return err
			}
			events, err := w.rooms.Events(tx, []int64{it.NID})
			passed = []roomserver.Passed{{Room: nid, Item: it, Event: events[it.NID]}}
			return err
		})
		write, err := w.take(t.Context(), passed)
		if err != nil {
			t.Fatal(err)
		}
		w.purges(room, w.says(alice, room, "the very end"))
		if err := w.db.Update(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		if n := w.indexed("canary"); n != 0 {
			t.Errorf("%d purged events are indexed", n)
		}
	})
}

func TestDeletedRoomLeavesTheIndex(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		room := w.creates(alice, roomserver.PublicChat)
		w.says(alice, room, "canary yellow")
		if n := w.indexed("canary"); n != 1 {
			t.Fatalf("%d events are indexed", n)
		}
		if err := w.rooms.Vanish(t.Context(), room); err != nil {
			t.Fatal(err)
		}
		for last, err := w.rooms.Purge(t.Context(), room, 0); last != 0; last, err = w.rooms.Purge(t.Context(), room, last) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if n := w.indexed("canary"); n != 0 {
			t.Errorf("%d events of a deleted room are indexed", n)
		}
		w.view(func(tx *store.Tx) error {
			nid, _, err := w.rooms.NID(tx, room)
			if err != nil {
				return err
			}
			met, err := metRooms(tx, []int64{int64(nid)})
			if len(met) > 0 {
				t.Error("the members of a deleted room are thought to be known")
			}
			return err
		})
	})
}

func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		room := w.creates(alice, roomserver.PublicChat)
		w.joins(bob, room)
		empty := ""
		name, err := w.rooms.Send(t.Context(), roomserver.Draft{Room: room, Sender: alice, Type: "m.room.name", StateKey: &empty, Content: json.RawMessage(`{"name":"Plum garden"}`)})
		if err != nil {
			t.Fatal(err)
		}
		topic, err := w.rooms.Send(t.Context(), roomserver.Draft{Room: room, Sender: alice, Type: "m.room.topic", StateKey: &empty, Content: json.RawMessage(`{"topic":"all about the plum"}`)})
		if err != nil {
			t.Fatal(err)
		}
		says := w.says(bob, room, "a plum, please")
		file := w.sends(alice, room, "m.room.message", map[string]string{"msgtype": "m.file", "body": "plum.pdf", "url": "mxc://example.org/x"})
		w.sends(alice, room, "m.room.encrypted", map[string]string{"algorithm": "m.megolm.v1.aes-sha2", "body": "plum", "ciphertext": "plum"})
		w.sends(alice, room, "org.example.note", map[string]string{"body": "plum"})
		edit := w.sends(alice, room, "m.room.message", map[string]any{
			"msgtype": "m.text", "body": "* apple", "m.new_content": map[string]string{"msgtype": "m.text", "body": "no plum"},
			"m.relates_to": map[string]string{"rel_type": "m.replace", "event_id": string(file)},
		})
		w.sends(alice, room, "m.room.message", map[string]any{"msgtype": "m.text", "body": 17})
		yes, no := true, false
		for _, c := range []struct {
			what string
			q    Query
			want []matrix.EventID // the newest first
		}{
			{"everything", Query{}, []matrix.EventID{edit, file, says, topic, name}},
			{"bodies", Query{Keys: []string{"content.body"}}, []matrix.EventID{edit, file, says}},
			{"names and topics", Query{Keys: []string{"content.name", "content.topic"}}, []matrix.EventID{topic, name}},
			{"a type", Query{Filter: account.RoomEventFilter{EventFilter: account.EventFilter{Types: []string{"m.room.n*"}}}}, []matrix.EventID{name}},
			{"not a type", Query{Filter: account.RoomEventFilter{EventFilter: account.EventFilter{NotTypes: []string{"m.room.message"}}}}, []matrix.EventID{topic, name}},
			{"a sender", Query{Filter: account.RoomEventFilter{EventFilter: account.EventFilter{Senders: []string{string(bob)}}}}, []matrix.EventID{says}},
			{"not a sender", Query{Filter: account.RoomEventFilter{EventFilter: account.EventFilter{NotSenders: []string{string(alice)}}}}, []matrix.EventID{says}},
			{"nobody", Query{Filter: account.RoomEventFilter{EventFilter: account.EventFilter{Senders: []string{}}}}, nil},
			{"with a url", Query{Filter: account.RoomEventFilter{ContainsURL: &yes}}, []matrix.EventID{file}},
			{"without a url", Query{Filter: account.RoomEventFilter{ContainsURL: &no}}, []matrix.EventID{edit, says, topic, name}},
			{"no room", Query{Filter: account.RoomEventFilter{Rooms: []string{}}}, nil},
			{"not this room", Query{Filter: account.RoomEventFilter{NotRooms: []string{string(room)}}}, nil},
			{"this room", Query{Filter: account.RoomEventFilter{Rooms: []string{string(room)}}}, []matrix.EventID{edit, file, says, topic, name}},
			{"a room that is not there", Query{Filter: account.RoomEventFilter{Rooms: []string{"!none:example.org"}}}, nil},
		} {
			c.q.Text, c.q.Recent = "PLUM", true
			if r := w.finds(c.q); !slices.Equal(ids(r), c.want) || r.Count != len(c.want) {
				t.Errorf("%s: found %v, count %d, wanted %v", c.what, ids(r), r.Count, c.want)
			}
		}
		if n := w.indexed("apple"); n != 0 {
			t.Error("the form of an edit for old clients is indexed")
		}
	})
}

// TestWhoFinds has users search who may not see all: neither the answers nor the counts tell them.
func TestWhoFinds(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		secret := w.creates(alice, roomserver.PrivateChat)
		w.says(alice, secret, "walnut secret")
		joined, err := w.rooms.Create(t.Context(), roomserver.Creation{
			Creator: alice, Version: "12", Preset: roomserver.PublicChat,
			State: []roomserver.StateWish{{Type: "m.room.history_visibility", Content: json.RawMessage(`{"history_visibility":"joined"}`)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.says(alice, joined, "walnut before")
		w.joins(bob, joined)
		during := w.says(alice, joined, "walnut during")
		own := w.says(bob, joined, "walnut own")
		w.member(bob, bob, joined, matrix.Leave)
		w.says(alice, joined, "walnut after")
		world := w.creates(alice, roomserver.PublicChat)
		empty := ""
		if _, err := w.rooms.Send(t.Context(), roomserver.Draft{Room: world, Sender: alice, Type: "m.room.history_visibility", StateKey: &empty, Content: json.RawMessage(`{"history_visibility":"world_readable"}`)}); err != nil {
			t.Fatal(err)
		}
		said := w.says(alice, world, "walnut to all the world")

		check := func(what string, q Query, want ...matrix.EventID) {
			t.Helper()
			for _, recent := range []bool{true, false} {
				q.Text, q.Recent = "walnut", recent
				r := w.finds(q)
				got := ids(r)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) || r.Count != len(want) {
					t.Errorf("%s, recent %v: found %v, count %d; wanted %v", what, recent, got, r.Count, want)
				}
			}
		}
		viewer := roomserver.Viewer{User: bob}
		check("bob, who was there for a while", Query{Viewer: viewer}, during, own)
		check("bob, in the world's room", Query{Viewer: viewer, Filter: account.RoomEventFilter{Rooms: []string{string(world)}}}, said)
		check("bob, in a secret room", Query{Viewer: viewer, Filter: account.RoomEventFilter{Rooms: []string{string(secret)}}})
		check("bob, who ignores alice", Query{Viewer: roomserver.Viewer{User: bob, Ignores: ignore(alice)}}, own)
		check("somebody else", Query{Viewer: roomserver.Viewer{User: "@eve:example.org"}})
		if err := w.rooms.Forget(t.Context(), bob, joined); err != nil {
			t.Fatal(err)
		}
		check("bob, who has forgotten it", Query{Viewer: viewer})
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		a, b := w.creates(alice, roomserver.PublicChat), w.creates(alice, roomserver.PublicChat)
		w.joins(bob, a)
		var want []matrix.EventID
		for i := range 23 {
			user, room := alice, a
			if i%3 == 0 {
				user = bob
			} else if i%3 == 1 {
				room = b
			}
			want = append(want, w.says(user, room, fmt.Sprintf("page %d %s", i, strings.Repeat("filler ", i%5))))
		}
		for _, recent := range []bool{true, false} {
			var got []matrix.EventID
			q := Query{Text: "page", Recent: recent, Limit: 5}
			var last float64 = maxRank
			var group string
			for page := range 10 {
				r := w.finds(q)
				if r.Count != 23 {
					t.Errorf("recent %v, page %d: count %d", recent, page, r.Count)
				}
				for _, h := range r.Hits {
					if !recent && h.Rank > last {
						t.Errorf("rank %v after %v", h.Rank, last)
					}
					last = h.Rank
				}
				if got = append(got, ids(r)...); page == 0 {
					group = r.NextIn("sender", string(bob))
					w.says(alice, a, "a page that comes in between")
				}
				if q.Next = r.Next; q.Next == "" {
					break
				}
			}
			if slices.Sort(got); len(slices.Compact(got)) != 23 || slices.ContainsFunc(want, func(id matrix.EventID) bool { return !slices.Contains(got, id) }) {
				t.Errorf("recent %v: %d events on all pages", recent, len(got))
			}
			for q.Next = group; q.Next != ""; {
				r := w.finds(q)
				for _, h := range r.Hits {
					if h.Event.Sender() != bob {
						t.Errorf("recent %v: in the group of bob is one of %s", recent, h.Event.Sender())
					}
				}
				q.Next = r.Next
			}
			for _, h := range w.finds(Query{Text: "between", Limit: 100}).Hits { // not found by the next round's count
				w.redacts(alice, h.Event.RoomID(), h.Event.ID())
			}
		}
		for _, bad := range []string{"x", "!", strings.Repeat("A", 3000), token{Recent: true, Doc: 5}.String(), token{Group: "type", Value: "x"}.String(), token{Count: -1}.String()} {
			if _, err := w.Find(t.Context(), Query{Viewer: roomserver.Viewer{User: alice}, Text: "page", Next: bad, Limit: 5}); !isRefusal(err) {
				t.Errorf("the token %.30q gives %v", bad, err)
			}
		}
	})
}

// TestRebuild makes the index anew, and finds the same.
func TestRebuild(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, true)
		if err := w.accounts.CreateUser(t.Context(), account.NewUser{ID: "@lonely:example.org", DisplayName: "Lonely Larch"}); err != nil {
			t.Fatal(err)
		}
		var rooms []matrix.RoomID
		for range 3 {
			rooms = append(rooms, w.creates(alice, roomserver.PublicChat))
		}
		for i := range 40 {
			w.says(alice, rooms[i%3], fmt.Sprintf("larch %d", i))
		}
		gone := w.says(alice, rooms[0], "larch gone")
		w.redacts(alice, rooms[0], gone)
		want := ids(w.finds(Query{Text: "larch", Recent: true}))
		if err := w.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.says(alice, rooms[1], "meanwhile")
		for {
			p, err := w.Progress(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !p.Running {
				if p.Done < 41 || p.Done > p.Total {
					t.Errorf("progress %+v", p)
				}
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := ids(w.finds(Query{Text: "larch", Recent: true})); len(got) != 40 || !slices.Equal(got, want) {
			t.Errorf("found %d events, before the rebuild %d", len(got), len(want))
		}
		if n := w.indexed("gone"); n != 0 {
			t.Error("the rebuild has indexed what is redacted")
		}
		people, _, err := w.People(t.Context(), alice, "larch", 10)
		if err != nil || len(people) != 1 || people[0].User != "@lonely:example.org" {
			t.Errorf("found %v, %v", people, err)
		}
	})
}

func ignore(user matrix.UserID) *roomserver.Ignored { return &roomserver.Ignored{user: true} }

func isRefusal(err error) bool {
	var refused *matrix.Error
	return errors.As(err, &refused)
}
