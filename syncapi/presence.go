package syncapi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"astrocyte/bus"
	"astrocyte/ephemeral"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	// gatherPresence is how long changes of presence are gathered before those are woken whom they concern.
	gatherPresence = 300 * time.Millisecond
	// circleAge is how long a circle is believed whose rooms may have grown.
	circleAge = 10 * time.Minute
	// foreignAge is the same for users of other servers, of whom it is not told when they come and go.
	foreignAge = time.Minute
	// circlesMost bounds the users whose circles are kept.
	circlesMost = 100_000
	// strangersMost bounds the circles that one answer reads anew: of users of whom no change was heard.
	strangersMost = 200
)

// circles knows who is told of whose presence: those who share a room that is not too large.
type circles struct {
	rooms *roomserver.Rooms
	users *tail[matrix.UserID]
	now   func() time.Time
	most  int64 // members of a room that is small enough; 0: there is no presence
	kept  *lru.Cache[matrix.UserID, *circle]
}

// circle is the small rooms of a user. It is not changed once it is kept.
type circle struct {
	rooms []roomserver.RoomNID // sorted
	at    int64                // the position at which they were read
	until time.Time
}

func newCircles(o *Options, users *tail[matrix.UserID]) *circles {
	return &circles{
		rooms: o.Rooms, users: users, now: o.Now, most: int64(o.PresenceRoom),
		kept: lru.New[matrix.UserID, *circle](circlesMost),
	}
}

// known gives the circle of a user without reading; nil where it has to be read.
func (c *circles) known(user matrix.UserID, upto int64) *circle {
	it, ok := c.kept.Get(user)
	if !ok || it.at > upto || c.users.changed(user, it.at) || c.now().After(it.until) {
		return nil
	}
	return it
}

// of gives the circle of a user, for a transaction that has filled the tail of users.
func (c *circles) of(tx *store.Tx, user matrix.UserID, upto int64) (*circle, error) {
	if it := c.known(user, upto); it != nil {
		return it, nil
	}
	joined, err := c.rooms.RoomsOf(tx, user)
	if err != nil {
		return nil, fmt.Errorf("read the rooms of %s: %w", user, err)
	}
	heads, err := c.rooms.Heads(tx, joined)
	if err != nil {
		return nil, fmt.Errorf("read the sizes of the rooms of %s: %w", user, err)
	}
	it := &circle{at: upto, until: c.now().Add(circleAge)}
	if user.Server() != c.rooms.Server() {
		it.until = c.now().Add(foreignAge)
	}
	for _, room := range joined {
		if heads[room].Joined <= c.most {
			it.rooms = append(it.rooms, room)
		}
	}
	slices.Sort(it.rooms)
	c.kept.Put(user, it, 1)
	return it, nil
}

// meets says whether any of the rooms, which are sorted, is one of the circle.
func (it *circle) meets(rooms []joinedRoom) bool {
	if len(it.rooms) > len(rooms) {
		for _, r := range rooms {
			if _, in := slices.BinarySearch(it.rooms, r.Room); in {
				return true
			}
		}
		return false
	}
	for _, room := range it.rooms {
		if _, in := slices.BinarySearchFunc(rooms, room, byRoom); in {
			return true
		}
	}
	return false
}

// wakeCircles signals those who are told of the presence of some users.
func (k *waker) wakeCircles(ctx context.Context, users []matrix.UserID) error {
	var rooms []roomserver.RoomNID
	err := k.db.View(ctx, func(tx *store.Tx) error {
		rooms = nil
		upto, err := tx.Pos()
		if err != nil {
			return err
		}
		if err := k.fill(tx, upto); err != nil {
			return err
		}
		for _, user := range users {
			it, err := k.circles.of(tx, user, upto)
			if err != nil {
				return err
			}
			rooms = append(rooms, it.rooms...)
		}
		return nil
	})
	slices.Sort(rooms)
	k.wakeRooms(slices.Compact(rooms)...)
	k.wakeUsers(users...)
	return err
}

// gathering is the users whose presence changed since those concerned were last woken.
type gathering struct {
	users map[matrix.UserID]bool
	due   *time.Timer
}

func newGathering() *gathering {
	g := &gathering{users: make(map[matrix.UserID]bool), due: time.NewTimer(time.Hour)}
	g.due.Stop()
	return g
}

func (g *gathering) add(c bus.Change) {
	if len(g.users) == 0 {
		g.due.Reset(gatherPresence)
	}
	g.users[matrix.UserID(c.Key)] = true
}

func (g *gathering) take() []matrix.UserID {
	users := make([]matrix.UserID, 0, len(g.users))
	for user := range g.users {
		users = append(users, user)
	}
	clear(g.users)
	return users
}

// presenceWish reads what a client wants to be seen as.
func presenceWish(text string) (ephemeral.State, error) {
	switch state := ephemeral.State(text); state {
	case "":
		return ephemeral.Online, nil
	case ephemeral.Online, ephemeral.Unavailable, ephemeral.Offline:
		return state, nil
	}
	return "", matrix.InvalidParam("set_presence must be online, offline or unavailable")
}

// alive notes that a client is there, unless it does not want that. Who waits says so again and again.
func (a *API) alive(ctx context.Context, q *question) {
	if a.waker.circles.most > 0 && q.presence != ephemeral.Offline {
		a.ephemeral.Seen(ctx, q.viewer.User, q.viewer.Device, q.presence)
	}
}

// readPresence reads whose presence changed, of those who share a small room with the user; of all of
// them, where a room is new to the client.
//
// Spec: GET /_matrix/client/v3/sync (presence).
func (r *reading) readPresence() error {
	if r.a.waker.circles.most == 0 {
		return nil
	}
	upto := ephemeral.TypingMark{Epoch: r.out.next.Epoch, Serial: r.out.next.Typing}
	var since ephemeral.TypingMark
	if !r.initial {
		since = ephemeral.TypingMark{Epoch: r.since.Epoch, Serial: r.since.Typing}
	}
	strangers := 0
	var failed error
	found := r.a.ephemeral.PresenceSince(since, upto, func(user matrix.UserID) bool {
		if user == r.viewer.User || failed != nil {
			return failed == nil
		}
		it := r.a.waker.circles.known(user, r.upto)
		if it == nil {
			if strangers++; strangers > strangersMost {
				return false
			}
			if it, failed = r.a.waker.circles.of(r.tx, user, r.upto); failed != nil {
				return false
			}
		}
		return it.meets(r.joined)
	})
	if failed != nil {
		return failed
	}
	if err := r.presenceOfNew(found); err != nil {
		return err
	}
	for user, p := range found {
		if r.filter.Presence.Matches(string(user), "m.presence") {
			r.out.presence = append(r.out.presence, presenceNews{user, p})
		}
	}
	return nil
}

// presenceOfNew adds the presence of those with whom the user has come together.
func (r *reading) presenceOfNew(found map[matrix.UserID]ephemeral.Presence) error {
	if r.initial {
		return nil
	}
	add := func(user matrix.UserID) {
		if p, known := r.a.ephemeral.PresenceNow(user); known && p.State != ephemeral.Offline {
			found[user] = p
		}
	}
	most := r.a.waker.circles.most
	for _, j := range r.out.join {
		switch {
		case j.head.Joined > most:
		case j.entered:
			members, err := r.a.rooms.Members(r.tx, j.head.Room, matrix.Join, int(most))
			if err != nil {
				return fmt.Errorf("read the members of %s: %w", j.room, err)
			}
			for _, m := range members {
				add(m.User)
			}
		case j.timeline != nil:
			for _, e := range j.timeline.events {
				if key, isState := e.Shown.StateKey(); isState && e.Type() == "m.room.member" && e.Shown.Membership() == matrix.Join {
					add(matrix.UserID(key))
				}
			}
		}
	}
	return nil
}

// presenceNews is how a user is.
type presenceNews struct {
	user matrix.UserID
	ephemeral.Presence
}

// presence writes presence events.
//
// Spec: CS m.presence.
func (w *writer) presence(list []presenceNews) {
	w.key("events")
	w.open('[')
	for _, p := range list {
		w.comma()
		w.open('{')
		w.text("type", "m.presence")
		w.text("sender", string(p.user))
		w.object("content", func() {
			w.text("presence", string(p.State))
			w.number("last_active_ago", p.Ago.Milliseconds())
			if p.Active {
				w.key("currently_active")
				w.b = append(w.b, "true"...)
			}
			if p.Status != "" {
				w.text("status_msg", p.Status)
			}
		})
		w.close('}')
	}
	w.close(']')
}
