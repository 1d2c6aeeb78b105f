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

// slidingClient is a client of sliding sync as the proposal describes it: it keeps what the answers tell.
type slidingClient struct {
	w     *world
	name  string
	v     roomserver.Viewer
	ask   *slidingAsk
	from  position
	rooms map[matrix.RoomID]*slidingRoom
	all   *wishes
}

// slidingRoom is a room as such a client knows it.
type slidingRoom struct {
	membership matrix.Membership
	chain      []*roomserver.ClientEvent
	state      map[string]matrix.EventID
	limited    bool // a timeline was limited: members that are loaded lazily may be out of date
	notify     int64
	joined     int64
	name       string
}

func newSlidingClient(w *world, name string, conn string, lazy bool) *slidingClient {
	c := &slidingClient{
		w: w, name: name, v: viewer(name), rooms: map[matrix.RoomID]*slidingRoom{}, ask: &slidingAsk{conn: conn, form: slidingSocket},
	}
	wish := stateWish{Include: []statePart{{}}, Lazy: lazy}
	if lazy {
		wish.Include[0].But = []string{memberEvent}
	}
	c.all = wishesOf([]stateWish{wish})
	c.ask.lists = []slidingList{{name: "all", roomConfig: roomConfig{limit: 2, state: wish}}}
	return c
}

// turns changes what the client asks for.
func (c *slidingClient) turns(rng *rand.Rand, rooms []matrix.RoomID) {
	l := &c.ask.lists[0]
	l.limit = rng.IntN(6)
	l.ranges = nil
	switch rng.IntN(3) {
	case 0:
		l.ranges = [][2]int64{{0, rng.Int64N(3)}}
	case 1:
		l.ranges = [][2]int64{{rng.Int64N(3), 1 << 40}}
	}
	c.ask.subs = map[matrix.RoomID]roomConfig{}
	if rng.IntN(2) == 0 {
		c.ask.subs[rooms[rng.IntN(len(rooms))]] = roomConfig{limit: rng.IntN(9), state: l.state}
	}
}

// syncs asks once and takes the answer. Now and then an answer is lost on the way, and asked for again.
func (c *slidingClient) syncs(rng *rand.Rand) {
	c.w.t.Helper()
	ctx := context.Background()
	for {
		api := c.w.api
		if rng.IntN(4) == 0 {
			api = c.w.other
		}
		n, err := api.slideOnce(ctx, c.v, c.ask, c.from)
		if err == nil {
			err = api.keepAnswer(ctx, c.v, c.ask.conn, c.from.generation, c.from.generation, n)
		}
		if err != nil {
			c.w.t.Fatal(err)
		}
		if rng.IntN(6) == 0 {
			continue
		}
		c.take(n)
		if c.from, err = parsePosition(n.pos.String()); err != nil {
			c.w.t.Fatal(err)
		}
		return
	}
}

func (c *slidingClient) take(n *slid) {
	c.w.t.Helper()
	for _, told := range n.rooms {
		r := c.rooms[told.id]
		if r == nil || told.initial {
			if !told.initial {
				c.w.t.Fatalf("%s: %s is new to the client, but not initial", c.name, told.id)
			}
			r = &slidingRoom{state: map[string]matrix.EventID{}}
			c.rooms[told.id] = r
		}
		r.membership = told.membership
		if told.stripped != nil {
			continue
		}
		c.takeTimeline(r, told)
		for _, e := range told.state {
			key, _ := e.StateKey()
			r.state[e.Type()+"\x00"+key] = e.ID()
		}
		for _, g := range told.gone {
			delete(r.state, g.tp+"\x00"+g.key)
		}
		if told.unread != nil {
			r.notify = told.unread.Notify
		}
		if told.joined != nil {
			r.joined = *told.joined
		}
		if told.name != nil {
			r.name = *told.name
		}
	}
}

func (c *slidingClient) takeTimeline(r *slidingRoom, told *slidRoom) {
	c.w.t.Helper()
	tl := told.timeline
	if tl == nil {
		return
	}
	if told.live > len(tl.events) {
		c.w.t.Fatalf("%s: %d of %d events are live", c.name, told.live, len(tl.events))
	}
	r.limited = r.limited || tl.limited && !told.initial
	had := r.chain
	if tl.limited || told.expanded {
		r.chain = nil
	}
	for _, e := range tl.events {
		if n := len(r.chain); n > 0 && r.chain[n-1].Seq >= e.Seq {
			c.w.t.Fatalf("%s: %s has seq %d after %d", c.name, e.ID(), e.Seq, r.chain[n-1].Seq)
		}
		for _, h := range had {
			if h.NID == e.NID && !told.expanded {
				c.w.t.Fatalf("%s: was told of %s in %s twice", c.name, e.ID(), told.id)
			}
		}
		r.chain = append(r.chain, e)
	}
	for _, h := range had {
		if told.expanded && h.Seq >= r.chain[0].Seq && !slices.ContainsFunc(r.chain, func(e *roomserver.ClientEvent) bool { return e.NID == h.NID }) {
			c.w.t.Fatalf("%s: the longer timeline of %s lacks %s, which was told before", c.name, told.id, h.ID())
		}
	}
}

// inView finds what the client asks to see, by itself.
func (c *slidingClient) inView(tx *store.Tx) (map[matrix.RoomID]roomserver.UserRoom, error) {
	all, err := c.w.rooms.UserRooms(tx, c.v.User)
	if err != nil {
		return nil, err
	}
	type row struct {
		roomserver.UserRoom
		active int64
	}
	var rows []row
	for _, u := range all {
		heads, err := c.w.rooms.Heads(tx, []roomserver.RoomNID{u.Room})
		if err != nil {
			return nil, err
		}
		it := row{u, u.Pos}
		if u.Membership == matrix.Join {
			it.active = heads[u.Room].Pos
		}
		if _, known := c.rooms[u.ID]; !known && (u.Membership == matrix.Leave || u.Membership == matrix.Ban) {
			_, was, err := c.w.rooms.Departure(tx, u)
			if err != nil {
				return nil, err
			}
			if !was || u.Sender == c.v.User {
				continue
			}
		}
		rows = append(rows, it)
	}
	slices.SortFunc(rows, func(a, b row) int { return int(b.active - a.active) })
	out := make(map[matrix.RoomID]roomserver.UserRoom)
	for i, it := range rows {
		_, sub := c.ask.subs[it.ID]
		if sub || c.ask.lists[0].holds(int64(i)) {
			out[it.ID] = it.UserRoom
		}
	}
	return out, nil
}

// check holds what the client knows of the rooms in view against what is.
func (c *slidingClient) check() {
	c.w.t.Helper()
	c.w.view(func(tx *store.Tx) error {
		view, err := c.inView(tx)
		if err != nil {
			return err
		}
		for id, u := range view {
			r := c.rooms[id]
			if r == nil {
				c.w.t.Fatalf("%s does not know of %s, where they are %s", c.name, id, u.Membership)
			}
			if r.membership != u.Membership {
				c.w.t.Fatalf("%s is %s in %s, and thinks to be %s", c.name, u.Membership, id, r.membership)
			}
			if err := c.checkRoom(tx, u, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *slidingClient) checkRoom(tx *store.Tx, u roomserver.UserRoom, r *slidingRoom) error {
	c.w.t.Helper()
	heads, err := c.w.rooms.Heads(tx, []roomserver.RoomNID{u.Room})
	if err != nil {
		return err
	}
	snap, below := heads[u.Room].Snap, int64(beyond)
	switch u.Membership {
	case matrix.Join:
	case matrix.Leave, matrix.Ban:
		it, was, err := c.w.rooms.Departure(tx, u)
		if err != nil || !was {
			return err
		}
		snap, below = it.Snap, it.Seq+1
	default:
		return nil
	}
	if len(r.chain) > 0 {
		items, err := c.w.rooms.After(tx, u.Room, r.chain[0].Seq-1, 10_000)
		if err != nil {
			return err
		}
		items = slices.DeleteFunc(items, func(it roomserver.Item) bool { return it.Seq >= below })
		shown, err := c.w.rooms.Render(tx, c.v, u.Room, items)
		if err != nil {
			return err
		}
		got, want := ids(r.chain), ids(shown)
		if u.Membership != matrix.Join { // what one saw as a member one may not be allowed to see any more
			got = slices.DeleteFunc(got, func(id matrix.EventID) bool { return !slices.Contains(want, id) })
		}
		if !slices.Equal(got, want) {
			c.w.t.Fatalf("%s (%s): the timeline of %s (%s) from seq %d is\n%v, want\n%v", c.name, c.ask.conn, u.ID, u.Membership, r.chain[0].Seq, got, want)
		}
	}
	if err := c.checkState(tx, u, r, snap); err != nil || u.Membership != matrix.Join {
		return err
	}
	counts, err := c.w.api.push.Counts(tx, c.v.User, []roomserver.Head{heads[u.Room]}, nil)
	if err != nil {
		return err
	}
	if want := counts[u.Room].Total().Notify; r.notify != want {
		c.w.t.Fatalf("%s: %s has %d unread to the client, want %d", c.name, u.ID, r.notify, want)
	}
	if want := heads[u.Room].Joined; r.joined != want {
		c.w.t.Fatalf("%s: %s has %d members to the client, want %d", c.name, u.ID, r.joined, want)
	}
	return nil
}

func (c *slidingClient) checkState(tx *store.Tx, u roomserver.UserRoom, r *slidingRoom, snap int64) error {
	c.w.t.Helper()
	st, err := c.w.rooms.State(tx, snap)
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
		if c.all.lazy && e.Type() == memberEvent && (!told || r.limited) {
			continue
		}
		if u.Membership != matrix.Join && key == string(c.v.User) {
			continue // the end of their membership, which may have been told anew
		}
		if got != e.ID() {
			c.w.t.Fatalf("%s (%s): in %s the state (%s, %s) is %s to the client, want %s", c.name, c.ask.conn, u.ID, e.Type(), key, got, e.ID())
		}
	}
	if !c.all.lazy {
		return nil
	}
	for _, e := range r.chain {
		if _, told := r.state[memberEvent+"\x00"+string(e.Sender())]; !told {
			c.w.t.Fatalf("%s: the client does not know the member %s, who sent %s", c.name, e.Sender(), e.ID())
		}
	}
	return nil
}

// TestSlidingClientsKnowWhatIs lets a random history happen, which clients of sliding sync follow with windows and
// subscriptions that change, and with cuts at random places: of the rooms in view each knows what is.
func TestSlidingClientsKnowWhatIs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			testkit.Each(t, func(t *testing.T, dsn string) { slideAlong(newWorld(t, dsn), rand.New(rand.NewPCG(seed, 23))) })
		})
	}
}

func slideAlong(w *world, rng *rand.Rand) {
	people := []string{"alice", "bob", "carol", "dave"}
	var rooms []matrix.RoomID
	for range 4 {
		rooms = append(rooms, w.create("alice"))
	}
	var clients []*slidingClient
	for i, name := range []string{"alice", "bob", "carol", "bob", "dave", "bob"} {
		clients = append(clients, newSlidingClient(w, name, fmt.Sprint("c", i), i%2 == 1))
		if name != "carol" { // whom nobody waits for
			w.t.Cleanup(w.api.waker.listen(user(name)).stop)
		}
	}
	last := make(map[matrix.RoomID]matrix.EventID)
	for i := range 400 {
		w.acts(rng, rooms, people, i)
		room := rooms[rng.IntN(len(rooms))]
		if rng.IntN(6) == 0 {
			last[room] = w.says(room, "alice", fmt.Sprint("said ", i))
		}
		if rng.IntN(10) == 0 && last[room] != "" {
			w.does(w.marks(room, people[rng.IntN(4)], last[room]))
		}
		if rng.IntN(5) > 0 {
			continue
		}
		c := clients[rng.IntN(len(clients))]
		if rng.IntN(3) == 0 {
			c.turns(rng, rooms)
		}
		c.syncs(rng)
		c.check()
	}
	for _, c := range clients {
		c.syncs(rng)
		c.check()
	}
}
