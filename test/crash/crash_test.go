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
)

const (
	senders = 6 // by HTTP; as many users
	sockets = 2 // senders by WebSocket
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
		w := newWorld(t, newProcess(t, program, dsn))
		for n := range rounds {
			w.round(n)
			w.check(n)
		}
		w.process.stop()
		checkDatabase(t, dsn)
	})
}

// world is a server with its users and all that it promised them.
type world struct {
	t       *testing.T
	process *process
	rooms   []string
	senders []*sender
	readers []*reader
}

// newWorld starts the server, and makes the users and the rooms.
func newWorld(t *testing.T, p *process) *world {
	t.Helper()
	w := &world{t: t, process: p}
	p.start()
	ctx := t.Context()
	for i := range senders + sockets {
		u := register(t, p, fmt.Sprintf("sender%d", i))
		w.senders = append(w.senders, &sender{user: u, socket: i >= senders, txns: map[string]*message{}})
	}
	for i := range 2 {
		u := register(t, p, fmt.Sprintf("reader%d", i))
		w.readers = append(w.readers, newReader(u, i == 1))
	}
	for range rooms {
		room := w.senders[0].user.must(ctx, t, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).At("room_id").Text()
		w.rooms = append(w.rooms, room)
		for _, s := range w.senders[1:] {
			s.user.must(ctx, t, "POST", "/join/"+room, map[string]any{})
		}
		for _, r := range w.readers {
			r.user.must(ctx, t, "POST", "/join/"+room, map[string]any{})
		}
	}
	return w
}

// round lets everybody send and read, and kills the server at a random moment.
func (w *world) round(n int) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var all sync.WaitGroup
	for _, s := range w.senders {
		all.Go(func() { s.run(ctx, n, w.rooms) })
	}
	for _, r := range w.readers {
		all.Go(func() { r.run(ctx) })
	}
	span := 300*time.Millisecond + rand.N(1500*time.Millisecond)
	time.Sleep(span)
	w.process.kill()
	cancel()
	all.Wait()
	w.process.start()
	acknowledged := 0
	for _, s := range w.senders {
		acknowledged += s.acknowledged
	}
	w.t.Logf("round %d: killed after %v, %d events acknowledged so far", n, span.Round(time.Millisecond), acknowledged)
}
