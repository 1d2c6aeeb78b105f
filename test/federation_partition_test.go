package test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// line is the way to a server, which can be cut.
type line struct {
	to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// startLined starts a server that others reach over a line.
func startLined(t *testing.T, dsn string, options ...story.Option) (*story.Server, *line) {
	t.Helper()
	name, behind := story.OwnAddress(t), story.OwnAddress(t)
	hidden := func(c *config.Config) { c.Listeners[len(c.Listeners)-1].Address = behind + ":8448" }
	s := story.StartAs(t, matrix.ServerName(name), dsn, append([]story.Option{hidden}, options...)...)
	l := &line{to: behind + ":8448", conns: make(map[net.Conn]bool)}
	listener, err := net.Listen("tcp", name+":8448")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.cuts()
		wg.Wait()
	})
	return s, l
}

// carry carries a connection until it ends or the line is cut.
func (l *line) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !l.holds(c, far) {
		return
	}
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, far}, {far, c}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // ends with either
			way[0].Close()
			way[1].Close()
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	delete(l.conns, far)
}

// holds keeps connections, to cut them; false: the line is cut.
func (l *line) holds(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.conns[c] = true
	}
	return !l.cut
}

func (l *line) cuts() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		c.Close()
	}
	clear(l.conns)
}

func (l *line) mends() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// stateOf is the state of a room as a user sees it: event ids by type and key.
func stateOf(u *story.User, room string) []string {
	var all []string
	for _, e := range u.Reads(story.Path("rooms", room, "state")).List() {
		all = append(all, e.At("type").Text()+" "+e.At("state_key").Text()+" "+e.At("event_id").Text())
	}
	slices.Sort(all)
	return all
}

// texts counts the messages of a room as a user sees them.
func texts(u *story.User, room string) map[string]int {
	seen := make(map[string]int)
	for from := ""; ; {
		page := u.Reads(story.Path("rooms", room, "messages") + "?dir=b&limit=100" + from)
		for _, e := range page.At("chunk").List() {
			if body := e.At("content", "body").Text(); body != "" {
				seen[body]++
			}
		}
		if page.At("end").Text() == "" {
			return seen
		}
		from = "&from=" + page.At("end").Text()
	}
}

// TestPartition has two servers go on without each other, and agree when they meet again.
func TestPartition(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, toA := startLined(t, dsn, withSecret)
		b, toB := startLined(t, testkit.SQLite(t))
		alice, bob, root := a.User("alice"), b.User("bob"), administrator(t, a, "root")
		carol := b.User("carol")
		rooms := make([]string, 3)
		for i := range rooms {
			rooms[i] = alice.CreatesRoom()
			joinsVia(bob, rooms[i], a)
			alice.Must("PUT", story.Path("rooms", rooms[i], "state", "m.room.power_levels", ""), map[string]any{"users": map[string]any{bob.ID: 50}})
			alice.Says(rooms[i], "together")
			bob.Sees(rooms[i], "together")
		}
		toA.cuts()
		toB.cuts()
		const each = 8
		for _, room := range rooms {
			for i := range each {
				alice.Says(room, fmt.Sprint("alice alone ", i))
				bob.Says(room, fmt.Sprint("bob alone ", i))
			}
			alice.Must("PUT", story.Path("rooms", room, "state", "m.room.name", ""), `{"name":"alice's"}`)
			bob.Must("PUT", story.Path("rooms", room, "state", "m.room.name", ""), `{"name":"bob's"}`)
			bob.Must("PUT", story.Path("rooms", room, "state", "m.room.topic", ""), `{"topic":"bob's"}`)
			carol.Joins(room)
		}
		to := "/_synapse/admin/v1/federation/destinations/" + string(b.ServerName())
		root.Finds("the other server to be missed", to, func(a story.JSON) bool { return a.At("failure_ts").Int() > 0 })
		toA.mends()
		toB.mends()
		began := time.Now()
		root.Must("POST", to+"/reset_connection", `{}`)
		for _, room := range rooms {
			alice.Sees(room, fmt.Sprint("bob alone ", each-1))
			bob.Sees(room, fmt.Sprint("alice alone ", each-1))
			alice.SeesMembership(room, carol, "join")
		}
		t.Logf("the servers had caught up with each other after %s", time.Since(began).Round(time.Millisecond))
		for _, room := range rooms {
			alice.Says(room, "together again") // upon both branches
			bob.Sees(room, "together again")
			if x, y := stateOf(alice, room), stateOf(bob, room); !slices.Equal(x, y) {
				t.Errorf("alice sees the state\n%v\nbob\n%v", x, y)
			}
			for _, u := range []*story.User{alice, bob} {
				seen := texts(u, room)
				for i := range each {
					for _, who := range []string{"alice", "bob"} {
						if text := fmt.Sprint(who, " alone ", i); seen[text] != 1 {
							t.Errorf("%s sees %q %d times", u.Name, text, seen[text])
						}
					}
				}
			}
		}
	})
}

// TestCatchUp has a server miss 1,000 events of 50 rooms.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long")
	}
	testkit.Each(t, func(t *testing.T, dsn string) {
		servers := story.StartFederated(t, testkit.SQLite(t), dsn)
		catchesUp(t, servers[0], servers[1])
	})
}

func catchesUp(t *testing.T, a, b *story.Server) {
	t.Helper()
	alice, bob := a.User("alice"), b.User("bob")
	const rooms, each = 50, 20
	ids := make([]string, rooms)
	for i := range ids {
		ids[i] = alice.CreatesRoom()
		joinsVia(bob, ids[i], a)
	}
	b.Stop()
	for i := range each {
		for _, room := range ids {
			alice.Says(room, fmt.Sprint("missed ", i))
		}
	}
	began := time.Now()
	b.Restart()
	for _, room := range ids {
		bob.Sees(room, fmt.Sprint("missed ", each-1))
	}
	t.Logf("%d events of %d rooms were there %s after the start", rooms*each, rooms, time.Since(began).Round(time.Millisecond))
	for _, room := range ids {
		seen := texts(bob, room)
		for i := range each {
			if text := fmt.Sprint("missed ", i); seen[text] != 1 {
				t.Errorf("bob sees %q %d times", text, seen[text])
			}
		}
	}
}
