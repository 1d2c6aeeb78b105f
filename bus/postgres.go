package bus

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// channel is the name under which the nodes of one database hear each other.
	channel = "astrocyte"
	// payloadMost is below what PostgreSQL takes in one notification, 8000 bytes.
	payloadMost = 7 << 10
	// queuedMost bounds what waits for the network. What comes then is told as Lost.
	queuedMost = 8192
	// pingEvery and pingPatience say when a silent connection is given up.
	pingEvery    = 30 * time.Second
	pingPatience = 10 * time.Second
	// pauseLeast and pauseMost bound the wait before another connection is tried.
	pauseLeast = 100 * time.Millisecond
	pauseMost  = 5 * time.Second
)

var (
	notified = promauto.NewCounter(prometheus.CounterOpts{
		Name: "astrocyte_bus_notifications_total",
		Help: "Notifications sent to other nodes, each with several changes.",
	})
	lost = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_bus_lost_total",
		Help: "How often sleepers were told to look by themselves, by reason.",
	}, []string{"reason"})
)

// Postgres is the bus of nodes that share one PostgreSQL database: LISTEN and NOTIFY, on connections of
// its own. A NOTIFY inside of a writing transaction would make all commits wait for each other.
type Postgres struct {
	dsn   string
	node  string // tells our own notifications from others'
	local *Local
	log   *slog.Logger

	mu     sync.Mutex
	queue  []Change
	missed bool          // something could not be sent
	wake   chan struct{} // the queue is not empty
}

// NewPostgres makes the bus over the database. Local carries the changes within this node.
func NewPostgres(dsn string, local *Local, log *slog.Logger) *Postgres {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Postgres{dsn: dsn, node: rand.Text(), local: local, log: log, wake: make(chan struct{}, 1)}
}

// Subscribe begins to collect changes of the kinds; without kinds, all of them.
func (p *Postgres) Subscribe(kinds ...Kind) *Subscription { return p.local.Subscribe(kinds...) }

// Publish hands the changes to the sleepers of this node, and queues them for the others.
func (p *Postgres) Publish(ctx context.Context, changes ...Change) {
	if len(changes) == 0 {
		return
	}
	p.local.Publish(ctx, changes...)
	p.mu.Lock()
	if len(p.queue)+len(changes) > queuedMost {
		p.miss("queue full")
	} else {
		p.queue = append(p.queue, changes...)
	}
	p.mu.Unlock()
	p.wakeSender()
}

// miss notes that the other nodes have to look by themselves. The lock is held.
func (p *Postgres) miss(reason string) {
	p.missed = true
	p.queue = nil
	lost.WithLabelValues(reason).Inc()
}

func (p *Postgres) wakeSender() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run carries changes between nodes until the context ends. Lost connections are made again.
func (p *Postgres) Run(ctx context.Context) error {
	dsn, err := p.withTimeout()
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.send(ctx, dsn) })
	p.listen(ctx, dsn)
	return nil
}

// withTimeout bounds the time that connecting takes.
func (p *Postgres) withTimeout() (string, error) {
	u, err := url.Parse(p.dsn)
	if err != nil {
		return "", err
	}
	q := u.Query()
	if !q.Has("connect_timeout") {
		q.Set("connect_timeout", "10")
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// listen hears the other nodes.
func (p *Postgres) listen(ctx context.Context, dsn string) {
	pause := pauseLeast
	for ctx.Err() == nil {
		heard := make(chan *pq.Notification, 1024)
		l, err := pq.NewListenerConn(dsn, heard)
		if err == nil {
			if _, err = l.Listen(channel); err == nil {
				pause = pauseLeast
				p.hear(ctx, l, heard)
				err = l.Err()
			}
			l.Close()
			for range heard { // until the driver's goroutine has ended
			}
		}
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("bus: not connected", "err", err)
		sleep(ctx, pause)
		pause = min(2*pause, pauseMost)
	}
}

// hear delivers what other nodes say, until the connection breaks or the context ends.
func (p *Postgres) hear(ctx context.Context, l *pq.ListenerConn, heard <-chan *pq.Notification) {
	p.lost(ctx, "connected") // whatever was said before
	var wg sync.WaitGroup
	defer wg.Wait()
	alive, end := context.WithCancel(ctx)
	defer end()
	wg.Go(func() { ping(alive, l) })
	for {
		select {
		case <-ctx.Done():
			return
		case n, ok := <-heard:
			if !ok {
				return
			}
			p.deliver(ctx, n.Extra)
		}
	}
}

// ping closes a connection that does not answer.
func ping(ctx context.Context, l *pq.ListenerConn) {
	for sleep(ctx, pingEvery) {
		silence := time.AfterFunc(pingPatience, func() { l.Close() })
		err := l.Ping()
		silence.Stop()
		if err != nil {
			l.Close()
			return
		}
	}
}

func (p *Postgres) lost(ctx context.Context, reason string) {
	lost.WithLabelValues(reason).Inc()
	p.local.Publish(ctx, Change{Kind: Lost})
}

// payload is one notification: who sends it, and what changed.
type payload struct {
	Node    string   `json:"n"`
	Changes []change `json:"c"`
}

type change struct {
	Kind Kind   `json:"k"`
	Key  string `json:"i,omitempty"`
	Pos  int64  `json:"p,omitempty"`
	Data []byte `json:"d,omitempty"`
}

// deliver hands on what another node said.
func (p *Postgres) deliver(ctx context.Context, text string) {
	var said payload
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		p.log.Warn("bus: not understood", "err", err)
		p.lost(ctx, "not understood")
		return
	}
	if said.Node == p.node {
		return
	}
	changes := make([]Change, len(said.Changes))
	for i, c := range said.Changes {
		changes[i] = Change(c)
	}
	p.local.Publish(ctx, changes...)
}

// send tells the other nodes. While one notification is under way the next gathers.
func (p *Postgres) send(ctx context.Context, dsn string) {
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		p.log.Error("bus: cannot send", "err", err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	pause := pauseLeast
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		if err := p.flush(ctx, db); err != nil && ctx.Err() == nil {
			p.log.Warn("bus: not sent", "err", err)
			p.mu.Lock()
			p.miss("not sent")
			p.mu.Unlock()
			sleep(ctx, pause)
			pause = min(2*pause, pauseMost)
			p.wakeSender()
			continue
		}
		pause = pauseLeast
	}
}

// flush sends what is queued.
func (p *Postgres) flush(ctx context.Context, db *sql.DB) error {
	p.mu.Lock()
	queue, missed := p.queue, p.missed
	p.queue, p.missed = nil, false
	p.mu.Unlock()
	if missed {
		queue = append(queue, Change{Kind: Lost})
	}
	for _, text := range p.payloads(coalesce(queue)) {
		if _, err := db.ExecContext(ctx, "NOTIFY "+channel+", "+pq.QuoteLiteral(text)); err != nil {
			return err
		}
		notified.Inc()
	}
	return nil
}

// coalesce leaves one change of those that say the same, with the newest position, or the newest data.
func coalesce(queue []Change) []Change {
	type about struct {
		kind Kind
		key  string
	}
	last := make(map[about]int, len(queue))
	out := queue[:0:0]
	for _, c := range queue {
		i, found := last[about{c.Kind, c.Key}]
		if !found {
			last[about{c.Kind, c.Key}] = len(out)
			out = append(out, c)
			continue
		}
		c.Pos = max(c.Pos, out[i].Pos)
		out[i] = c
	}
	return out
}

// payloads packs changes into notifications. One that is too large for any is told as Lost.
func (p *Postgres) payloads(changes []Change) (texts []string) {
	begin := []byte(`{"n":"` + p.node + `","c":[`)
	text := slices.Clone(begin)
	flush := func() {
		if len(text) > len(begin) {
			texts = append(texts, string(append(text, "]}"...)))
		}
		text = slices.Clone(begin)
	}
	for _, c := range changes {
		one, err := json.Marshal(change(c))
		if err != nil || len(begin)+len(one)+2 > payloadMost {
			lost.WithLabelValues("too large").Inc()
			one = []byte(`{"k":"` + string(Lost) + `"}`)
		}
		if len(text)+1+len(one)+2 > payloadMost {
			flush()
		}
		if len(text) > len(begin) {
			text = append(text, ',')
		}
		text = append(text, one...)
	}
	flush()
	return texts
}

// sleep is false when the context ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
