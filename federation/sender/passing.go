package sender

import (
	"encoding/json"
	"sync"
	"time"

	"astrocyte/matrix"
)

const (
	// passAfter is how long something is kept for a server that is not reached.
	passAfter = time.Minute
	// maxNotes bounds what is kept for one server, maxServers for how many.
	maxNotes   = 1000
	maxServers = 20_000
	// askAgain is how long it takes until a server is asked for again that could not be had: another node sends
	// to it, or it is left alone.
	askAgain = time.Second
)

// noteKey is what a note is about: a newer one takes the place of an older one.
type noteKey struct {
	kind   string // of the EDU
	room   matrix.RoomID
	user   matrix.UserID
	thread string
}

// note is something that passes, as it is to be told to a server.
type note struct {
	noteKey
	at      time.Time
	content json.RawMessage // of typing: the EDU's; of receipts and presence: of one user
}

// passing is what waits in the memory of this node for other servers.
type passing struct {
	now  func() time.Time
	wake chan struct{} // something came

	mu      sync.Mutex
	servers map[matrix.ServerName]*passingFor
}

type passingFor struct {
	order []noteKey
	notes map[noteKey]note
	asked time.Time // when the server was asked for last
}

func newPassing(now func() time.Time) *passing {
	return &passing{now: now, wake: make(chan struct{}, 1), servers: make(map[matrix.ServerName]*passingFor)}
}

// put keeps a note for servers.
func (p *passing) put(servers []matrix.ServerName, n note) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.at = p.now()
	for _, server := range servers {
		f := p.servers[server]
		if f == nil {
			if len(p.servers) >= maxServers {
				passed.Inc()
				continue
			}
			f = &passingFor{notes: make(map[noteKey]note)}
			p.servers[server] = f
		}
		if _, known := f.notes[n.noteKey]; !known {
			if len(f.order) >= maxNotes {
				passed.Inc()
				continue
			}
			f.order = append(f.order, n.noteKey)
		}
		f.notes[n.noteKey] = n
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// expire drops what has waited for too long.
func (p *passing) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.now().Add(-passAfter)
	for server, f := range p.servers {
		for len(f.order) > 0 && f.notes[f.order[0]].at.Before(before) {
			delete(f.notes, f.order[0])
			f.order = f.order[1:]
			passed.Inc()
		}
		if len(f.order) == 0 {
			delete(p.servers, server)
		}
	}
}

// waiting gives servers for which something waits and that were not asked for lately.
func (p *passing) waiting(limit int, but map[matrix.ServerName]claim) []matrix.ServerName {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []matrix.ServerName
	for server, f := range p.servers {
		if len(all) == limit {
			break
		}
		if _, running := but[server]; !running && p.now().Sub(f.asked) >= askAgain {
			f.asked = p.now()
			all = append(all, server)
		}
	}
	return all
}

// add adds what waits for a server to a transaction.
func (p *passing) add(t *transaction, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.servers[t.server]
	if f == nil {
		return
	}
	f.asked = time.Time{} // it could be had
	notes := make([]note, 0, len(f.order))
	for _, k := range f.order {
		notes = append(notes, f.notes[k])
	}
	for _, e := range bundle(notes) {
		if len(t.edus) >= maxEDUs || most <= 0 || t.bytes+len(e.json) > maxBytes {
			return
		}
		t.edus = append(t.edus, e)
		t.bytes += len(e.json)
		most--
	}
}

// remove drops what was sent, but not what came in its place meanwhile.
func (p *passing) remove(t *transaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.servers[t.server]
	if f == nil {
		return
	}
	for _, e := range t.edus {
		for _, n := range e.notes {
			if f.notes[n.noteKey].at.Equal(n.at) {
				delete(f.notes, n.noteKey)
			}
		}
	}
	kept := f.order[:0]
	for _, k := range f.order {
		if _, there := f.notes[k]; there {
			kept = append(kept, k)
		}
	}
	if f.order = kept; len(kept) == 0 {
		delete(p.servers, t.server)
	}
}
