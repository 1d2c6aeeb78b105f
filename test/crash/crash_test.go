// Package crash kills the real program under load, again and again, and checks that no acknowledged event
// is lost, doubled or moved, and that nothing that somebody saw has vanished.
//
// ASTROCYTE_CRASH_ROUNDS says how often the program is killed (3), ASTROCYTE_PROGRAM names one that is
// built already.
package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

const (
	senders = 6 // by HTTP; as many users
	sockets = 2 // senders by WebSocket
	readers = 4 // by long poll and by WebSocket in turn
	rooms   = 3
)

func roundsToRun(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ASTROCYTE_CRASH_ROUNDS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ASTROCYTE_CRASH_ROUNDS is %q, not a number of rounds", text)
	}
	return n
}

func TestNothingAcknowledgedIsLost(t *testing.T) {
	program := buildProgram(t)
	rounds := roundsToRun(t)
	testkit.Each(t, func(t *testing.T, dsn string) {
		p := newProcess(t, program, dsn)
		p.start()
		w := newWorld(t, p)
		for n := range rounds {
			w.round(p)
			p.start()
			w.check()
			w.tell(n)
		}
		p.stop()
		checkDatabase(t, dsn)
	})
}

// TestTheOtherNodeGoesOn kills one of two nodes: what it acknowledged is there on the other one, which goes
// on meanwhile, and where its users go on too.
func TestTheOtherNodeGoesOn(t *testing.T) {
	t.Parallel()
	program := buildProgram(t)
	rounds := roundsToRun(t)
	dsn := testkit.Postgres(t)
	one := newProcess(t, program, dsn)
	one.start()
	two := newProcess(t, program, dsn)
	two.takeKey(one)
	two.start()
	w := newWorld(t, one, two)
	for n := range rounds {
		victim, other := one, two
		if n%2 == 1 {
			victim, other = two, one
		}
		w.round(victim)
		w.move(victim, other)
		w.check()
		victim.start()
		w.spread()
		w.check()
		w.tell(n)
	}
	one.stop()
	two.stop()
	checkDatabase(t, dsn)
}

// world is a server with its users and all that it promised them.
type world struct {
	t         *testing.T
	processes []*process
	rooms     []string
	senders   []*sender
	readers   []*reader
}

// newWorld makes the users, spread over the nodes, and the rooms.
func newWorld(t *testing.T, nodes ...*process) *world {
	t.Helper()
	w := &world{t: t, processes: nodes}
	ctx := t.Context()
	for i := range senders + sockets {
		u := register(t, nodes[0], fmt.Sprintf("sender%d", i))
		w.senders = append(w.senders, &sender{user: u, socket: i >= senders, receipts: map[string]string{}})
	}
	for i := range readers {
		u := register(t, nodes[0], fmt.Sprintf("reader%d", i))
		w.readers = append(w.readers, newReader(u, i%2 == 1))
	}
	for range rooms {
		room := w.senders[0].user.must(ctx, t, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).At("room_id").Text()
		w.rooms = append(w.rooms, room)
		for _, u := range w.users()[1:] {
			u.must(ctx, t, "POST", story.Path("join", room), map[string]any{})
		}
	}
	w.spread()
	return w
}

func (w *world) users() []*account {
	var all []*account
	for _, s := range w.senders {
		all = append(all, s.user)
	}
	for _, r := range w.readers {
		all = append(all, r.user)
	}
	return all
}

// spread lets the users go to the nodes in turn.
func (w *world) spread() {
	for i, u := range w.users() {
		u.p = w.processes[i/2%len(w.processes)]
	}
}

// move lets the users of one node go to another.
func (w *world) move(from, to *process) {
	for _, u := range w.users() {
		if u.p == from {
			u.p = to
		}
	}
}

// round lets everybody send and read, and kills a node at a random moment. Those at other nodes go on for
// a while, and must get on.
func (w *world) round(victim *process) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var all sync.WaitGroup
	for _, s := range w.senders {
		all.Go(func() { s.run(ctx, w.rooms) })
	}
	for _, r := range w.readers {
		all.Go(func() { r.run(ctx) })
	}
	time.Sleep(300*time.Millisecond + rand.N(1500*time.Millisecond))
	victim.kill()
	for _, s := range w.senders {
		if before := s.acknowledged.Load(); s.user.p != victim {
			for end := time.Now().Add(30 * time.Second); s.acknowledged.Load() == before; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					w.t.Errorf("%s does not get on at the other node", s.user.id)
					break
				}
			}
		}
	}
	cancel()
	all.Wait()
}

func (w *world) tell(round int) {
	n := int64(0)
	for _, s := range w.senders {
		n += s.acknowledged.Load()
	}
	w.t.Logf("round %d: %d events acknowledged so far", round, n)
}
