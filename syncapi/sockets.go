package syncapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

const (
	// socketsPerDevice bounds the sockets of one device: the oldest gives way to a new one.
	socketsPerDevice = 4
	// socketsPerUser bounds those of all devices of a user.
	socketsPerUser = 50
	// guestsMost bounds the sockets of one address that have not logged in.
	guestsMost = 64
	// reconnectSpread is over how long the clients of a stopping node come back, at most.
	reconnectSpread = 20 * time.Second
	// reconnectEach is how much of that each socket adds.
	reconnectEach = 2 * time.Millisecond
	// farewell is how long a stop waits for the last frames to be written.
	farewell = 3 * time.Second
)

// sockets are the open WebSockets of this node. They outlive the requests that opened them: Run ends
// them and waits for them.
type sockets struct {
	upgrade websocket.Upgrader
	buffers sync.Pool     // of frameConns that read
	turns   chan struct{} // who may read what is new: a broadcast does not fill the memory

	mu     sync.Mutex
	all    map[*socket]struct{}
	guests map[netip.Addr]int          // sockets of an address that have not logged in
	byUser map[matrix.UserID][]*socket // the oldest first
	closed bool
	group  sync.WaitGroup
}

func newSockets() *sockets {
	return &sockets{
		turns:  make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		all:    make(map[*socket]struct{}),
		guests: make(map[netip.Addr]int),
		byUser: make(map[matrix.UserID][]*socket),
		upgrade: websocket.Upgrader{
			HandshakeTimeout: 10 * time.Second,
			ReadBufferSize:   128, // a frameConn reads more at a time
			WriteBufferSize:  4096,
			WriteBufferPool:  new(sync.Pool),
			// A page of any origin may open a socket: without a token in its first frame it gets nothing,
			// and there are no cookies.
			EnableCompression: true,
			CheckOrigin:       func(*http.Request) bool { return true },
		},
	}
}

// openSocket opens a WebSocket, and leaves it to its own goroutines.
//
// Spec: none; docs/websocket.md
func (a *API) openSocket(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	if !websocket.IsWebSocketUpgrade(r) {
		return matrix.E(matrix.CodeUnrecognized, "this endpoint is a WebSocket").WithStatus(http.StatusUpgradeRequired)
	}
	if !a.sockets.letIn(c.IP) {
		return matrix.E(matrix.CodeLimitExceeded, "too many connections of this address that have not logged in").With("retry_after_ms", authTime.Milliseconds())
	}
	taken := &taking{ResponseWriter: w, buffers: &a.sockets.buffers}
	conn, err := a.sockets.upgrade.Upgrade(taken, r, nil)
	if err != nil {
		a.sockets.loggedIn(c.IP)
		return nil // the upgrader has answered
	}
	s := newSocket(a, conn, taken.conn, r, c)
	if !a.sockets.add(s) {
		a.sockets.loggedIn(c.IP)
		s.part(closeRestart, "the server is stopping")
		return conn.Close()
	}
	s.run(s.live)
	return nil
}

// turn waits for one's turn to read what is new. It is over when done is called.
func (k *sockets) turn(ctx context.Context) (done func(), err error) {
	select {
	case k.turns <- struct{}{}:
		return func() { <-k.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// letIn counts a socket that has not logged in yet; false: there are too many of its address.
func (k *sockets) letIn(address netip.Addr) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.guests[address] >= guestsMost {
		return false
	}
	k.guests[address]++
	return true
}

// loggedIn counts a socket out that has logged in, or has not and never will.
func (k *sockets) loggedIn(address netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.guests[address]--; k.guests[address] <= 0 {
		delete(k.guests, address)
	}
}

// add counts a socket in; false: the node stops.
func (k *sockets) add(s *socket) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.all[s] = struct{}{}
	k.group.Add(1)
	socketsOpen.Inc()
	return true
}

func (k *sockets) remove(s *socket) {
	k.mu.Lock()
	delete(k.all, s)
	if user := s.viewer.User; user != "" {
		left := slices.DeleteFunc(k.byUser[user], func(o *socket) bool { return o == s })
		if k.byUser[user] = left; len(left) == 0 {
			delete(k.byUser, user)
		}
	}
	k.mu.Unlock()
	socketsOpen.Dec()
	k.group.Done()
}

// claim gives a socket to a user, and ends the oldest where there are too many.
func (k *sockets) claim(s *socket, v roomserver.Viewer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	own := k.byUser[v.User]
	var device []*socket
	for _, o := range own {
		if o.viewer.Device == v.Device {
			device = append(device, o)
		}
	}
	switch {
	case len(device) >= socketsPerDevice:
		device[0].end(closeReplaced, "the device has opened a newer socket")
	case len(own) >= socketsPerUser:
		own[0].end(closeReplaced, "the user has opened newer sockets")
	}
	s.viewer = v
	k.byUser[v.User] = append(own, s)
}

// run waits for the end of ctx, sends all clients away, each with a time to come back, and waits for the
// sockets to end.
func (k *sockets) run(ctx context.Context) error {
	<-ctx.Done()
	k.mu.Lock()
	k.closed = true
	spread := min(reconnectSpread, time.Duration(len(k.all))*reconnectEach)
	for s := range k.all {
		s.dismiss(rand.N(spread + 1))
	}
	k.mu.Unlock()
	ended := make(chan struct{})
	go func() { k.group.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(farewell):
		k.mu.Lock()
		for s := range k.all {
			_ = s.conn.Close() // who writes to it ends upon that
			s.end(closeRestart, "the server restarts")
		}
		k.mu.Unlock()
		<-ended
	}
	return nil
}
