package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// idleTimeout is PostgreSQL's setting for how long a transaction may wait for its client.
const idleTimeout = "idle_in_transaction_session_timeout"

// connsDefault bounds the connections to PostgreSQL where Options do not.
const connsDefault = 16

// postgresDB is the engine of servers with several nodes: a bounded pool of connections, which stay open,
// each with its statements prepared once.
type postgresDB struct {
	connector *pq.Connector
	slots     chan struct{} // one for each connection that is in use

	mu     sync.Mutex
	idle   []*conn // the one used last at the end
	closed bool

	// apart takes numbers from counters while the caller may hold a connection of the pool, and locks.
	apart     sync.Mutex
	apartConn *conn
}

var postgresDialect = dialect{
	macros: map[string]string{
		"INT8": "INT8", "TEXT": "TEXT", "BYTES": "BYTEA",
		"FOR UPDATE": "FOR UPDATE", "SKIP LOCKED": "FOR UPDATE SKIP LOCKED", "CLUSTERED": "",
		"NOW": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS INT8)",
	},
	// Text is ordered by its bytes, as on SQLite.
	columns: map[string]string{"TEXT": `TEXT COLLATE "C"`},
	nids:    "(SELECT x & 255, x FROM unnest(CAST($ AS INT8[])) AS x)",
	keyed:   `(SELECT CAST(substr(x, 1, 3) AS INT8), substr(x, 4) COLLATE "C" FROM unnest(CAST($ AS TEXT[])) AS x)`,
	in: map[string]string{
		"INT8":  "= ANY(CAST($ AS INT8[]))",
		"TEXT":  "= ANY(CAST($ AS TEXT[]))",
		"BYTES": "= ANY(CAST($ AS BYTEA[]))",
	},
}

func openPostgres(o Options) (*postgresDB, error) {
	cfg, err := pq.NewConfig(o.DSN)
	if err != nil {
		return nil, err
	}
	cfg.BinaryParameters = true
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = "astrocyte"
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	if cfg.Runtime == nil {
		cfg.Runtime = make(map[string]string)
	}
	// A node that stands still in the middle of a transaction must not stop the others: it may hold the
	// position's row.
	if _, given := cfg.Runtime[idleTimeout]; !given {
		cfg.Runtime[idleTimeout] = "60s"
	}
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, err
	}
	connector.Dialer(&dialer{net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4,
	}}})
	conns := o.Conns
	if conns == 0 {
		conns = connsDefault
	}
	return &postgresDB{connector: connector, slots: make(chan struct{}, conns)}, nil
}

// dialer finds out within half a minute that the other machine is gone.
type dialer struct{ net.Dialer }

func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	with := d.Dialer
	with.Timeout = timeout
	return with.Dial(network, address)
}

func (p *postgresDB) name() string { return "postgres" }

// close refuses new transactions and waits for those that run.
func (p *postgresDB) close() error {
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.mu.Unlock()
	if was {
		return nil
	}
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
	p.apart.Lock()
	defer p.apart.Unlock()
	if p.apartConn != nil {
		p.apartConn.close()
		p.apartConn = nil
	}
	for range cap(p.slots) {
		<-p.slots
	}
	return nil
}

// get takes a connection, and waits for one where all are in use.
func (p *postgresDB) get(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.slots
		return nil, errClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	c, err := p.connect(ctx)
	if err != nil {
		<-p.slots
	}
	return c, err
}

func (p *postgresDB) connect(ctx context.Context) (*conn, error) {
	raw, err := p.connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	c := newConn(raw, &postgresDialect, encodeList)
	c.shared = true
	return c, nil
}

// put gives a connection back. One that broke takes the idle ones with it, which are hardly better: most
// often the server was restarted.
func (p *postgresDB) put(c *conn) {
	if c.broken || !c.raw.(driver.Validator).IsValid() {
		p.mu.Lock()
		all := append(p.idle, c)
		p.idle = nil
		p.mu.Unlock()
		for _, c := range all {
			c.close()
		}
	} else {
		p.mu.Lock()
		p.idle = append(p.idle, c)
		p.mu.Unlock()
	}
	<-p.slots
}

func (p *postgresDB) update(ctx context.Context, fn func(*conn) error) error {
	return p.transaction(ctx, driver.TxOptions{Isolation: readCommitted}, fn)
}

func (p *postgresDB) view(ctx context.Context, fn func(*conn) error) error {
	return p.transaction(ctx, driver.TxOptions{Isolation: repeatableRead, ReadOnly: true}, fn)
}

// The isolation levels by their numbers in database/sql.
const (
	readCommitted  = driver.IsolationLevel(2)
	repeatableRead = driver.IsolationLevel(4)
)

// transaction runs fn between BEGIN and COMMIT. The end of the context cancels what runs, but for the
// commit, so that its outcome is known.
func (p *postgresDB) transaction(ctx context.Context, o driver.TxOptions, fn func(*conn) error) (err error) {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	c.broken = true // until the end is known: fn may panic
	defer func() { p.put(c) }()

	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	detach := context.AfterFunc(ctx, cancel)
	defer detach()
	if ctx.Done() == nil {
		inner = context.Background() // spares the driver a goroutine
	}

	tx, err := c.raw.(driver.ConnBeginTx).BeginTx(inner, o)
	if err != nil {
		return withCause(ctx, err)
	}
	if err = fn(c); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.broken = tx.Rollback() != nil || planIsStale(err)
		return withCause(ctx, err)
	}
	if !detach() && ctx.Done() != nil {
		tx.Rollback()
		return ctx.Err()
	}
	return p.commit(c, tx, o.ReadOnly)
}

func (p *postgresDB) commit(c *conn, tx driver.Tx, readonly bool) error {
	began := time.Now()
	err := tx.Commit()
	var refused *pq.Error
	switch {
	case err == nil:
		c.broken = false
		if !readonly {
			commitSeconds.WithLabelValues("postgres").Observe(time.Since(began).Seconds())
		}
		return nil
	case readonly, errors.As(err, &refused), errors.Is(err, pq.ErrInFailedTransaction):
		return fmt.Errorf("commit: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// withCause says of a statement that was cancelled that the context ended.
func withCause(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	if code := sqlState(err); code == pqerror.QueryCanceled || lostConnection(err) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

func sqlState(err error) pqerror.Code {
	var e *pq.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// lostConnection: also that there was none to begin with.
func lostConnection(err error) bool {
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// planIsStale: a prepared statement was made before a change of the schema by another node.
func planIsStale(err error) bool {
	var e *pq.Error
	return errors.As(err, &e) && e.Code == pqerror.FeatureNotSupported && strings.Contains(e.Message, "cached plan")
}

// again: serialization failures, deadlocks, and lost connections but for those lost during COMMIT.
func (p *postgresDB) again(err error) bool {
	if errors.Is(err, ErrUnknownOutcome) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch code := sqlState(err); code {
	case "":
		return lostConnection(err)
	case pqerror.TRSerializationFailure, pqerror.TRDeadlockDetected,
		pqerror.AdminShutdown, pqerror.CrashShutdown, pqerror.CannotConnectNow, pqerror.TooManyConnections:
		return true
	default:
		return strings.HasPrefix(string(code), "08") || planIsStale(err)
	}
}

// run has nothing to do: the server minds itself.
func (p *postgresDB) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// take runs on a connection of its own, and commits at once: the caller may be inside of a transaction,
// whose end the other nodes should not wait for. To run it again only wastes numbers.
func (p *postgresDB) take(ctx context.Context, counter string, n int64) (last int64, err error) {
	p.apart.Lock()
	defer p.apart.Unlock()
	for try := 1; ; try++ {
		if last, err = p.takeOnce(ctx, counter, n); err == nil {
			return last, nil
		}
		if p.apartConn != nil {
			p.apartConn.close()
			p.apartConn = nil
		}
		if try == attempts || !p.again(err) || !pause(ctx, try) {
			return 0, err
		}
	}
}

func (p *postgresDB) takeOnce(ctx context.Context, counter string, n int64) (last int64, err error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return 0, errClosed
	}
	if p.apartConn == nil {
		if p.apartConn, err = p.connect(ctx); err != nil {
			return 0, err
		}
	}
	err = p.apartConn.each(ctx, func(r Row) error { return r.Scan(&last) }, `
		INSERT INTO counters (name, taken) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET taken = counters.taken + excluded.taken
		RETURNING taken`, []any{counter, n})
	return last, err
}
