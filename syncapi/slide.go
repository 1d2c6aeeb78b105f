package syncapi

import (
	"context"
	"fmt"
	"math/rand/v2"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// slide is the making of one answer of sliding sync, in one transaction.
type slide struct {
	reading
	ask      *slidingAsk
	from     position // zero: the client begins
	key      connectionKey
	conn     *connection // as the client knows it
	listing  *listing
	sorting  sorting
	scope    []*scoped                   // the rooms in view, in the order of the list
	interest map[roomserver.RoomNID]bool // those that lists are about, and those that the client named; nil: nobody asked
	wishes   []*wishes                   // those of conn, and new ones behind them
	changes  map[roomserver.RoomNID]toldRoom
	members  *deviceSent                 // what members the client was told; nil: nobody asked
	read     map[roomserver.RoomNID]bool // rooms in which the user has read on
	events   int                         // of timelines, told so far
	news     *slid
}

// slid is an answer of sliding sync.
type slid struct {
	form    slidingForm
	pos     position
	txn     string
	lists   []slidList
	rooms   []*slidRoom
	ext     slidExtensions
	conn    *connection // as the client knows it with the answer
	changed bool        // and that is not as it was
	more    bool        // there are rooms to be told that this answer had no place for
}

// slidList is how many rooms a list has.
type slidList struct {
	name  string
	count int64
}

// empty says that there is nothing that the client has to be told.
func (n *slid) empty() bool { return len(n.rooms) == 0 && n.ext.empty() }

// slideOnce answers a request as of now.
func (a *API) slideOnce(ctx context.Context, v roomserver.Viewer, ask *slidingAsk, from position) (*slid, error) {
	r := &slide{}
	err := a.view(ctx, func(tx *store.Tx) error {
		*r = slide{
			reading: reading{a: a, tx: tx, told: make(told), question: question{
				viewer: v, since: from.Token, shown: from.Token, initial: from == (position{}), filter: slidingFilter(0),
			}},
			ask: ask, from: from, key: connectionKey{v.User, v.Device, ask.conn}, changes: make(map[roomserver.RoomNID]toldRoom),
		}
		return r.run()
	})
	if err != nil {
		return nil, fmt.Errorf("read what is in view of %s: %w", v.User, err)
	}
	if r.members != nil {
		a.sent.tell(r.memory(), r.members, from.link(), r.news.pos.link(), r.told)
	}
	if r.out.devices.Rest {
		a.forgetUpTo(ctx, v, r.ask.ext.toDevice.had)
	}
	return r.news, nil
}

// memory names the memory of what members this connection was told.
func (r *slide) memory() device {
	return device{r.viewer.User, matrix.DeviceID(fmt.Sprintf("%s\x00%d", r.viewer.Device, r.conn.identity))}
}

func (r *slide) run() error {
	var err error
	if r.upto, err = r.tx.Pos(); err != nil {
		return err
	}
	if r.since.Pos > r.upto {
		return errUnknownPos // the database was restored from a backup
	}
	r.conn = &connection{identity: newIdentity(), rooms: make(map[roomserver.RoomNID]toldRoom)}
	if !r.initial {
		if r.conn, err = r.a.openConnection(r.tx, r.key, r.from); err != nil {
			return err
		}
	}
	r.wishes = append(r.wishes, r.conn.wishes...)
	r.out = &news{}
	r.news = &slid{form: r.ask.form, txn: r.ask.txn}
	for _, part := range []func() error{r.findListing, r.findIgnored, r.findScope, r.tellRooms, r.count, r.extend} {
		if err := part(); err != nil {
			return err
		}
	}
	r.finish()
	return nil
}

// finish makes the position that the client shows next.
func (r *slide) finish() {
	inView := make(map[roomserver.RoomNID]bool, len(r.scope))
	for _, s := range r.scope {
		inView[s.room] = true
	}
	for room, t := range r.conn.rooms {
		if _, done := r.changes[room]; !done && t.upto == 0 && !inView[room] {
			t.upto = r.since.Pos
			r.changes[room] = t
		}
	}
	for room, t := range r.changes {
		if was, known := r.conn.rooms[room]; known && was == t {
			delete(r.changes, room)
		}
	}
	n := r.news
	n.conn = r.conn.next(r.changes, r.wishes)
	n.changed = r.initial || n.conn != r.conn
	n.pos = position{
		Token:    Token{Pos: r.upto, Epoch: r.out.next.Epoch, Typing: r.out.next.Typing},
		identity: r.conn.identity, generation: r.conn.generation, answer: rand.Int64N(1<<30) + 1,
	}
}

// slidingFilter is a filter that wants so many events of a timeline.
func slidingFilter(limit int) *filter {
	f := &account.Filter{}
	f.Room.Timeline.Limit = &limit
	return &filter{Filter: f, format: roomserver.WithoutRoomID}
}

// count counts what the user has not read of the rooms that are told.
func (r *slide) count() error {
	if r.ask.form == slidingStable {
		return nil
	}
	var heads []roomserver.Head
	for _, n := range r.news.rooms {
		if n.head.Room != 0 {
			heads = append(heads, n.head)
		}
	}
	counts, err := r.a.push.Counts(r.tx, r.viewer.User, heads, r.reading.known())
	if err != nil {
		return fmt.Errorf("count what is unread: %w", err)
	}
	for _, n := range r.news.rooms {
		if n.head.Room != 0 {
			u := counts[n.head.Room].Total()
			n.unread = &u
		}
	}
	return nil
}

// slidRoom is what an answer tells of a room. What is nil is as it was.
type slidRoom struct {
	id                matrix.RoomID
	membership        matrix.Membership
	lists             []string
	bump              int64
	initial, expanded bool
	name, avatar      *string // empty: it has none
	heroes            []slidHero
	dm                *bool
	state             []*roomserver.ClientEvent
	gone              []goneState
	timeline          *timeline
	live              int
	joined, invited   *int64
	unread            *push.Count
	stripped          []byte          // a JSON list, of an invite or a knock
	head              roomserver.Head // of a room that the user is in
	firstSeq          int64           // of the timeline's first event; 0: none
}

// slidHero is a member by which a room without a name is named.
type slidHero struct {
	user         matrix.UserID
	name, avatar string
}

// goneState is a piece of a room's state that is not set any more.
type goneState struct{ tp, key string }
