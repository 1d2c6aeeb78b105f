package inbound

import (
	"context"
	"sync"

	"astrocyte/matrix"
)

const (
	// maxTaken bounds the transactions that are taken at a time, maxInLine those that wait of one server: it
	// should not send another before it has an answer.
	maxTaken  = 64
	maxInLine = 4
)

// turns lets each server have one transaction taken at a time.
type turns struct {
	all chan struct{}

	mu sync.Mutex
	of map[matrix.ServerName]*line
}

// line is a server's transactions: the one that is taken and those that wait.
type line struct {
	turn chan struct{}
	n    int
}

func newTurns() *turns {
	return &turns{all: make(chan struct{}, maxTaken), of: make(map[matrix.ServerName]*line)}
}

// take waits for the turn of a server, and gives what ends it.
func (t *turns) take(ctx context.Context, server matrix.ServerName) (done func(), err error) {
	t.mu.Lock()
	l := t.of[server]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		t.of[server] = l
	}
	if l.n >= maxInLine {
		t.mu.Unlock()
		refused.WithLabelValues("line").Inc()
		return nil, matrix.E(matrix.CodeLimitExceeded, "other transactions of %s wait already", server).With("retry_after_ms", 1000)
	}
	l.n++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.n--; l.n == 0 {
			delete(t.of, server)
		}
	}
	for _, c := range []chan struct{}{l.turn, t.all} {
		select {
		case c <- struct{}{}:
		case <-ctx.Done():
			if c == t.all {
				<-l.turn
			}
			leave()
			return nil, ctx.Err()
		}
	}
	return func() {
		<-t.all
		<-l.turn
		leave()
	}, nil
}
