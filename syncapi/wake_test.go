package syncapi

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/ephemeral"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/testkit"
)

// poller is a client that polls one after the other, and keeps the messages it was told.
type poller struct {
	api   *API
	name  string
	shy   bool // does not want to be seen
	since string
	limit int
	seen  []matrix.EventID
	rooms map[matrix.EventID]matrix.RoomID
}

func (p *poller) polls(ctx context.Context, timeout time.Duration) (*news, error) {
	c := &httpapi.Caller{User: user(p.name), Device: "P"}
	req := &syncRequest{since: p.since, timeout: timeout.Milliseconds(), filter: limitFilter(p.limit)}
	if p.shy {
		req.setPresence = string(ephemeral.Offline)
	}
	it, err := p.api.prepare(ctx, c, req)
	if err != nil {
		return nil, err
	}
	p.api.begin(it)
	defer it.waiter.stop()
	n, err := p.api.await(ctx, it, func(context.Context) error { return nil }, time.Time{})
	if err != nil {
		return nil, err
	}
	return n.(*news), nil
}

// TestNothingIsLostBetweenPolls lets people send and move at once while others poll: each poller is told
// of every message once, in the order of its room, though every answer begins where the last one ended.
func TestNothingIsLostBetweenPolls(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		const writers, each = 8, 25
		rooms := []matrix.RoomID{w.create("alice"), w.create("alice")}
		names := []string{"bob", "carol", "dave", "bob"}
		var pollers []*poller
		for i, name := range names {
			for _, room := range rooms {
				w.membership(room, name, name, matrix.Join)
			}
			api := w.api
			if i == 3 {
				api = w.other // which hears no hints, and looks by itself
			}
			pollers = append(pollers, &poller{api: api, name: name, limit: 200, rooms: map[matrix.EventID]matrix.RoomID{}})
		}
		for i := range writers {
			w.membership(rooms[i%2], fmt.Sprint("writer", i), fmt.Sprint("writer", i), matrix.Join)
		}
		for _, p := range pollers {
			n, err := p.polls(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			p.since = n.next.String()
		}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
		defer stop()
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				for n := range each {
					if _, err := w.rooms.Send(ctx, w.draft(rooms[i%2], fmt.Sprint("writer", i), fmt.Sprint(i, n))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, p := range pollers {
			all.Go(func() {
				for len(p.seen) < writers*each && ctx.Err() == nil {
					n, err := p.polls(ctx, 10*time.Second)
					if err != nil {
						t.Error(err)
						return
					}
					p.since = n.next.String()
					p.takes(t, n)
				}
			})
		}
		all.Wait()
		for i, p := range pollers {
			if len(p.seen) != writers*each {
				t.Errorf("poller %d was told of %d messages, want %d", i, len(p.seen), writers*each)
			}
		}
	})
}

func (p *poller) takes(t *testing.T, n *news) {
	for _, j := range n.join {
		if j.timeline == nil {
			continue
		}
		if j.timeline.limited {
			t.Errorf("%s: a timeline is limited", p.name)
		}
		for _, e := range j.timeline.events {
			if e.Type() != "m.room.message" {
				continue
			}
			if _, twice := p.rooms[e.ID()]; twice {
				t.Errorf("%s was told of %s twice", p.name, e.ID())
			}
			p.rooms[e.ID()] = j.room
			p.seen = append(p.seen, e.ID())
		}
	}
}

// TestSleepersWake looks at each kind of news that ends a poll.
func TestSleepersWake(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		room, other := w.create("alice"), w.create("alice")
		w.membership(room, "bob", "bob", matrix.Join)
		event := w.says(room, "alice", "first")
		p := &poller{api: w.api, name: "bob", limit: 10}
		ctx := t.Context()
		for _, c := range []struct {
			what string
			do   func() error
			told func(n *news) bool
		}{
			{"a message", func() error { w.says(room, "alice", "hello"); return nil }, func(n *news) bool { return len(n.join) == 1 }},
			{"an invite", func() error { w.membership(other, "alice", "bob", matrix.Invite); return nil }, func(n *news) bool { return len(n.invite) == 1 }},
			{"a join of their own", func() error { w.membership(other, "bob", "bob", matrix.Join); return nil }, func(n *news) bool { return len(n.join) == 1 && n.join[0].room == other }},
			{"a message in the room just joined", func() error { w.says(other, "alice", "hello"); return nil }, func(n *news) bool { return len(n.join) == 1 && n.join[0].room == other }},
			{"account data", func() error { return w.accounts.SetAccountData(ctx, user("bob"), "", "org.example", []byte(`{"a":1}`)) }, func(n *news) bool { return len(n.account) == 1 }},
			{"account data of a room", func() error { return w.accounts.SetAccountData(ctx, user("bob"), room, "m.tag", []byte(`{}`)) }, func(n *news) bool { return len(n.join) == 1 && len(n.join[0].account) == 1 }},
			{"typing", func() error { return w.api.ephemeral.SetTyping(ctx, user("alice"), room, true, time.Minute) }, func(n *news) bool { return len(n.join) == 1 && len(n.join[0].ephemeral) == 1 }},
			{"a receipt", func() error { return w.marks(room, "alice", event) }, func(n *news) bool { return len(n.join) == 1 && len(n.join[0].ephemeral) == 1 }},
			{"a kick", func() error { w.membership(other, "alice", "bob", matrix.Leave); return nil }, func(n *news) bool { return len(n.leave) == 1 }},
		} {
			n, err := p.polls(ctx, 0) // up to date
			if err != nil {
				t.Fatal(err)
			}
			p.since = n.next.String()
			asleep := make(chan *news, 1)
			go func() {
				n, err := p.polls(ctx, time.Minute)
				if err != nil {
					t.Error(err)
				}
				asleep <- n
			}()
			w.awaitSleeper(user("bob"))
			if err := c.do(); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			select {
			case n := <-asleep:
				if n == nil || !c.told(n) {
					t.Errorf("%s: the answer is %s", c.what, n.AppendJSON(nil))
				}
			case <-time.After(lookEvery - time.Second): // before the sleeper looks by itself
				t.Fatalf("%s woke nobody", c.what)
			}
		}
	})
}

// awaitSleeper waits until a user has somebody waiting.
func (w *world) awaitSleeper(u matrix.UserID) {
	for {
		w.api.waker.mu.Lock()
		known := w.api.waker.watches[u]
		waits := known != nil && len(known.waiters) > 0
		w.api.waker.mu.Unlock()
		if waits {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestTokensOfARestoredDatabaseBeginAnew(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		room := w.create("alice")
		p := &poller{api: w.api, name: "alice", limit: 10, since: Token{Pos: 1 << 40}.String()}
		n, err := p.polls(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if len(n.join) != 1 || n.join[0].room != room || n.next.Pos >= 1<<40 {
			t.Errorf("a token of the future is answered by %s", n.AppendJSON(nil))
		}
	})
}

func TestTailsForgetTheOldest(t *testing.T) {
	t.Parallel()
	h := newTail(readRoomMoves)
	h.restart(10)
	for i := range int64(1000) {
		h.pos[roomserver.RoomNID(i)] = 11 + i
	}
	h.filled = 1010
	h.forgetHalf()
	for i := range int64(1000) {
		pos, kept := h.pos[roomserver.RoomNID(i)]
		if (11+i > h.floor) != kept || kept && pos != 11+i {
			t.Fatalf("room %d moved at %d, the floor is %d, and it is kept: %t", i, 11+i, h.floor, kept)
		}
	}
	if len(h.pos) == 0 || len(h.pos) > 600 {
		t.Errorf("%d rooms are kept", len(h.pos))
	}
}

// TestCountsAreTold looks at the counts of a room, with threads apart or not, and after reading.
func TestCountsAreTold(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		room := w.create("alice")
		w.membership(room, "bob", "bob", matrix.Join)
		root := w.says(room, "alice", "root")
		reply := fmt.Sprintf(`{"msgtype":"m.text","body":"reply","m.relates_to":{"rel_type":"m.thread","event_id":%q}}`, root)
		in, err := w.rooms.Send(t.Context(), roomserver.Draft{Room: room, Sender: user("alice"), Type: "m.room.message", Content: []byte(reply)})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ filter, want string }{
			{`{}`, `"unread_notifications":{"highlight_count":0,"notification_count":2}}`},
			{`{"room":{"timeline":{"unread_thread_notifications":true}}}`, `"unread_notifications":{"highlight_count":0,"notification_count":1},` +
				`"unread_thread_notifications":{"` + string(root) + `":{"highlight_count":0,"notification_count":1}}}`},
		} {
			n, err := w.api.read(t.Context(), question{viewer: viewer("bob"), filter: mustFilter(t, c.filter), initial: true})
			if err != nil {
				t.Fatal(err)
			}
			if text := string(n.AppendJSON(nil)); !strings.Contains(text, c.want) || !strings.Contains(text, `"type":"m.push_rules"`) {
				t.Errorf("%s: %s, want counts %s and the push rules", c.filter, text, c.want)
			}
		}
		q := question{viewer: viewer("bob"), filter: mustFilter(t, `{}`), initial: true}
		n, err := w.api.read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.marks(room, "bob", in); err != nil {
			t.Fatal(err)
		}
		q.since, q.initial = n.next, false
		if n, err = w.api.read(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		if text := string(n.AppendJSON(nil)); !strings.Contains(text, `"notification_count":0`) || strings.Contains(text, "m.push_rules") {
			t.Errorf("after reading: %s", text)
		}
	})
}
