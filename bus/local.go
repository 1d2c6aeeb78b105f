package bus

import (
	"context"
	"slices"
	"sync"
)

// buffered is how many changes wait for one subscriber before the rest turn into one Lost.
const buffered = 1024

// Local is the bus of a single node.
type Local struct {
	mu   sync.RWMutex
	subs []*Subscription
}

// NewLocal makes a bus that reaches this node alone.
func NewLocal() *Local { return &Local{} }

// Run waits for the end of the context: a single node has nothing to carry.
func (l *Local) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Publish hands the changes to the subscribers of this node.
func (l *Local) Publish(_ context.Context, changes ...Change) {
	if len(changes) == 0 {
		return
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.subs {
		s.deliver(changes)
	}
}

// Subscribe begins to collect changes of the kinds; without kinds, all of them.
func (l *Local) Subscribe(kinds ...Kind) *Subscription {
	c := make(chan Change, buffered)
	s := &Subscription{C: c, c: c, kinds: kinds, local: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs = append(l.subs, s)
	return s
}

// Subscription collects changes for one reader.
type Subscription struct {
	// C gives the changes, in the order of their publication on this node. It is never closed.
	C <-chan Change

	c     chan Change
	kinds []Kind
	local *Local
	mu    sync.Mutex // keeps senders apart, so that the last place stays free for Lost
	lost  bool       // a Lost is the last thing in the buffer
}

// Close ends the collecting. What is in C may still be read.
func (s *Subscription) Close() {
	s.local.mu.Lock()
	defer s.local.mu.Unlock()
	s.local.subs = slices.DeleteFunc(s.local.subs, func(o *Subscription) bool { return o == s })
}

// deliver puts the wanted changes into the buffer. A change may only be dropped while a Lost stands
// behind everything in the buffer, for then the reader looks after it was dropped.
func (s *Subscription) deliver(changes []Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		if !s.wants(c.Kind) {
			continue
		}
		switch free := cap(s.c) - len(s.c); {
		case free > 1:
			s.c <- c
			s.lost = c.Kind == Lost
		case free == 1 && !s.lost:
			s.c <- Change{Kind: Lost}
			s.lost = true
		case free == 1: // the reader took something, but has not come to the Lost yet
		default:
		}
	}
}

func (s *Subscription) wants(k Kind) bool {
	return k == Lost || len(s.kinds) == 0 || slices.Contains(s.kinds, k)
}
