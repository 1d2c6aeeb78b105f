package syncapi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

// client is a client as the specification describes it: it keeps what the answers of /sync tell.
type client struct {
	w     *world
	name  string
	q     question
	rooms map[matrix.RoomID]*clientRoom
	left  map[matrix.RoomID]*clientRoom
	known map[matrix.RoomID]bool // invites
}

// clientRoom is a room as a client knows it.
type clientRoom struct {
	chain []*roomserver.ClientEvent // the timeline since the last gap
	state map[string]matrix.EventID
}

func newClient(w *world, name, filter string, after stateForm) *client {
	v := viewer(name)
	v.Device = matrix.DeviceID(fmt.Sprintf("%s-%d-%s", name, after, filter))
	return &client{
		w: w, name: name, rooms: map[matrix.RoomID]*clientRoom{}, left: map[matrix.RoomID]*clientRoom{}, known: map[matrix.RoomID]bool{},
		q: question{viewer: v, filter: mustFilter(w.t, filter), initial: true, after: after},
	}
}

// syncs asks once and takes the answer. Now and then an answer is lost on the way, and asked for again.
func (c *client) syncs(rng *rand.Rand) {
	c.w.t.Helper()
	for {
		api := c.w.api
		if rng.IntN(4) == 0 {
			api = c.w.other
		}
		n, err := api.read(context.Background(), c.q)
		if err != nil {
			c.w.t.Fatal(err)
		}
		if rng.IntN(10) == 0 {
			continue
		}
		c.take(n)
		c.q.since, c.q.shown, c.q.follows, c.q.initial = n.next, n.next, n.next, false
		return
	}
}

func (c *client) take(n *news) {
	c.w.t.Helper()
	for _, j := range n.join {
		r := c.rooms[j.room]
		if r == nil || j.timeline != nil && j.timeline.limited {
			fresh := &clientRoom{state: map[string]matrix.EventID{}}
			if r != nil {
				fresh.state = r.state
			}
			r = fresh
			c.rooms[j.room] = r
		}
		c.apply(r, j.state, nil)
		c.checkStart(r, j.timeline)
		c.apply(r, nil, j.timeline)
		delete(c.left, j.room)
		delete(c.known, j.room)
	}
	for _, l := range n.leave {
		r := c.rooms[l.room]
		if r == nil || l.timeline.limited {
			r = &clientRoom{state: map[string]matrix.EventID{}}
		}
		c.apply(r, l.state, l.timeline)
		delete(c.rooms, l.room)
		delete(c.known, l.room)
		c.left[l.room] = r
	}
	for _, i := range n.invite {
		c.known[i.room] = true
		delete(c.left, i.room)
		delete(c.rooms, i.room) // left and invited again since the last answer
	}
}

func (c *client) apply(r *clientRoom, state []*roomserver.ClientEvent, t *timeline) {
	c.w.t.Helper()
	set := func(e *roomserver.ClientEvent) {
		if key, ok := e.StateKey(); ok {
			r.state[e.Type()+"\x00"+key] = e.ID()
		}
	}
	for _, e := range state {
		set(e)
	}
	if t == nil {
		return
	}
	for _, e := range t.events {
		if n := len(r.chain); n > 0 && r.chain[n-1].Seq >= e.Seq {
			c.w.t.Fatalf("%s: %s has seq %d after %d", c.name, e.ID(), e.Seq, r.chain[n-1].Seq)
		}
		r.chain = append(r.chain, e)
		if c.q.after == stateAtStart {
			set(e)
		}
	}
}

// checkStart holds the state that was told against the state at the start of the timeline, for what the
// timeline sets.
func (c *client) checkStart(r *clientRoom, t *timeline) {
	c.w.t.Helper()
	if t == nil || len(t.events) == 0 || c.q.after != stateAtStart || c.q.filter.lazy() {
		return
	}
	c.w.view(func(tx *store.Tx) error {
		before, err := c.w.rooms.Before(tx, t.events[0].Room, t.events[0].Seq, 1)
		if err != nil || len(before) == 0 {
			return err
		}
		st, err := c.w.rooms.State(tx, before[0].Snap)
		if err != nil {
			return err
		}
		for _, e := range t.events {
			key, ok := e.StateKey()
			if !ok {
				continue
			}
			was, err := c.w.rooms.StateEvent(tx, st, e.Type(), key)
			if err != nil {
				return err
			}
			if got := r.state[e.Type()+"\x00"+key]; was != nil && got != was.ID() {
				c.w.t.Fatalf("%s: at the start of the timeline (%s, %s) is %s to the client, want %s", c.name, e.Type(), key, got, was.ID())
			}
		}
		return nil
	})
}

// check holds what the client knows against what is.
func (c *client) check() {
	c.w.t.Helper()
	c.w.view(func(tx *store.Tx) error {
		all, err := c.w.rooms.UserRooms(tx, c.q.viewer.User)
		if err != nil {
			return err
		}
		for _, u := range all {
			r, in := c.rooms[u.ID]
			if in != (u.Membership == matrix.Join) {
				c.w.t.Fatalf("%s: %s is %s, and among the joined rooms: %t", c.name, u.ID, u.Membership, in)
			}
			if c.known[u.ID] != (u.Membership == matrix.Invite) {
				c.w.t.Fatalf("%s: %s is %s, and among the invites: %t", c.name, u.ID, u.Membership, c.known[u.ID])
			}
			switch u.Membership {
			case matrix.Join:
				if err := c.checkRoom(tx, u, r, beyond); err != nil {
					return err
				}
			case matrix.Leave, matrix.Ban:
				if l := c.left[u.ID]; l != nil {
					if err := c.checkRoom(tx, u, l, u.Seq+1); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// checkRoom compares the timeline since the last gap, up to below, with what the user may see of the
// room; and the state.
func (c *client) checkRoom(tx *store.Tx, u roomserver.UserRoom, r *clientRoom, below int64) error {
	c.w.t.Helper()
	if len(r.chain) > 0 {
		items, err := c.w.rooms.After(tx, u.Room, r.chain[0].Seq-1, 10_000)
		if err != nil {
			return err
		}
		items = slices.DeleteFunc(items, func(it roomserver.Item) bool { return it.Seq >= below })
		shown, err := c.w.rooms.Render(tx, c.q.viewer, u.Room, items)
		if err != nil {
			return err
		}
		got, want := ids(r.chain), ids(shown)
		if u.Membership != matrix.Join { // what one saw as a member one may not be allowed to see any more
			got = slices.DeleteFunc(got, func(id matrix.EventID) bool { return !slices.Contains(want, id) })
		}
		if !slices.Equal(got, want) {
			c.w.t.Fatalf("%s: the timeline of %s from seq %d is\n%v, want\n%v", c.name, u.ID, r.chain[0].Seq, got, want)
		}
	}
	if u.Membership != matrix.Join {
		return nil
	}
	heads, err := c.w.rooms.Heads(tx, []roomserver.RoomNID{u.Room})
	if err != nil {
		return err
	}
	st, err := c.w.rooms.State(tx, heads[u.Room].Snap)
	if err != nil {
		return err
	}
	var nids []int64
	for _, e := range st.Entries() {
		nids = append(nids, e.Event)
	}
	events, err := c.w.rooms.Events(tx, nids)
	if err != nil {
		return err
	}
	for _, e := range events {
		key, _ := e.StateKey()
		got, told := r.state[e.Type()+"\x00"+key]
		if !told && c.q.filter.lazy() && e.Type() == "m.room.member" {
			continue
		}
		if got != e.ID() {
			c.w.t.Fatalf("%s: in %s the state (%s, %s) is %s to the client, want %s", c.name, u.ID, e.Type(), key, got, e.ID())
		}
	}
	for _, e := range r.chain {
		if _, told := r.state["m.room.member\x00"+string(e.Sender())]; !told {
			c.w.t.Fatalf("%s: the client does not know the member %s, who sent %s", c.name, e.Sender(), e.ID())
		}
	}
	return nil
}

func ids(events []*roomserver.ClientEvent) []matrix.EventID {
	out := make([]matrix.EventID, len(events))
	for i, e := range events {
		out[i] = e.ID()
	}
	return out
}

// acts does something at random, which the rules may refuse.
func (w *world) acts(rng *rand.Rand, rooms []matrix.RoomID, people []string, i int) {
	w.t.Helper()
	room := rooms[rng.IntN(len(rooms))]
	who, other := people[rng.IntN(len(people))], people[rng.IntN(len(people))]
	switch n := rng.IntN(100); {
	case n < 50:
		w.says(room, who, fmt.Sprintf("message %d", i))
	case n < 60:
		w.sets(room, people[0], "m.room.topic", "", fmt.Sprintf(`{"topic":"topic %d"}`, i))
	case n < 64:
		w.sets(room, people[0], "org.example.thing", fmt.Sprint(rng.IntN(4)), fmt.Sprintf(`{"n":%d}`, i))
	case n < 80:
		w.membership(room, who, who, matrix.Join)
	case n < 87 && who != people[0]:
		w.membership(room, who, who, matrix.Leave)
	case n < 91:
		w.membership(room, people[0], other, matrix.Invite)
	case n < 94 && other != people[0]:
		w.membership(room, people[0], other, matrix.Ban)
	case n < 98 && other != people[0]:
		w.membership(room, people[0], other, matrix.Leave)
	default:
		w.sets(room, who, "m.room.member", string(user(who)), fmt.Sprintf(`{"membership":"join","displayname":"%s %d"}`, who, i))
	}
}

// TestClientsKnowWhatIs lets a random history happen, which clients follow with cuts at random places:
// whatever the form of the state, the limit of the timeline and the loading of members, each knows in the
// end what is: no event comes twice, none is lost, and the state is the room's.
func TestClientsKnowWhatIs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			testkit.Each(t, func(t *testing.T, dsn string) { follow(newWorld(t, dsn), rand.New(rand.NewPCG(seed, 17))) })
		})
	}
}

func follow(w *world, rng *rand.Rand) {
	people := []string{"alice", "bob", "carol", "dave"}
	var rooms []matrix.RoomID
	for range 3 {
		rooms = append(rooms, w.create("alice"))
	}
	var clients []*client
	for i, name := range []string{"alice", "bob", "carol", "bob", "carol", "dave", "alice", "bob"} {
		filter := limitFilter(1 + i*2)
		if i >= 4 {
			filter = fmt.Sprintf(`{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":%d}}}`, i-3)
		}
		clients = append(clients, newClient(w, name, filter, stateForm(i%2)))
		if name != "carol" { // whom nobody waits for: her rooms are read anew each time
			w.t.Cleanup(w.api.waker.listen(user(name)).stop)
			w.t.Cleanup(w.other.waker.listen(user(name)).stop)
		}
	}
	for i := range 400 {
		w.acts(rng, rooms, people, i)
		if c := clients[rng.IntN(len(clients))]; rng.IntN(4) == 0 {
			c.syncs(rng)
			c.check()
		}
	}
	for _, c := range clients {
		c.syncs(rng)
		c.check()
	}
}
