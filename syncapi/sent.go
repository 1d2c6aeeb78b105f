package syncapi

import (
	"maps"
	"slices"
	"sync"

	"astrocyte/lru"
	"astrocyte/roomserver"
)

// sentMost bounds the memory of member events sent to devices: about so many bytes.
const sentMost = 64 << 20

// sentPending bounds the answers of one device of which is not known whether they arrived.
const sentPending = 40

// sentEntry is about what one remembered member costs.
const sentEntry = 48

// member is a user's place in the state of a room.
type member struct {
	room  roomserver.RoomNID
	tuple int64
}

// sent remembers which member events each device has been sent, for lazy loading. An answer counts when
// the client shows its token, for until then it may have been lost. Forgetting repeats member events.
//
// Spec: CS "Lazy-loading room members".
type sent struct {
	devices *lru.Cache[roomserver.Viewer, *deviceSent]
}

func newSent() *sent { return &sent{devices: lru.New[roomserver.Viewer, *deviceSent](sentMost)} }

// deviceSent is what one device has been sent.
type deviceSent struct {
	mu      sync.Mutex
	known   map[member]int64 // the nid of the member event that was sent last
	upto    Token            // known holds along the chain of tokens up to here
	pending []pendingSent
}

// pendingSent is what an answer told, by its token and the one that it followed.
type pendingSent struct {
	from, token Token
	members     map[member]int64
}

// at gives the memory of a device that shows a token. A device that shows an older token than before has
// gone back, and is told everything again.
func (s *sent) at(v roomserver.Viewer, since Token, initial bool) *deviceSent {
	d, ok := s.devices.Get(v)
	if !ok || initial {
		d = &deviceSent{known: make(map[member]int64), upto: since}
		s.keep(v, d)
		return d
	}
	if d.confirm(since) {
		s.keep(v, d)
	}
	return d
}

func (s *sent) keep(v roomserver.Viewer, d *deviceSent) {
	s.devices.Put(v, d, int64(len(v.User)+len(v.Device)+200)+sentEntry*d.size())
}

func (d *deviceSent) size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.known)
	for _, p := range d.pending {
		n += len(p.members)
	}
	return int64(n)
}

// confirm takes what the answers told that led to a token as sent; others, that were asked for again, may
// never have arrived. It says whether the memory changed. A link is never newer than the one after it in
// the chain, and is taken out, so the walk ends.
func (d *deviceSent) confirm(since Token) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if since.Pos < d.upto.Pos {
		clear(d.known)
		d.upto, d.pending = since, nil
		return true
	}
	d.upto = since
	if len(d.pending) == 0 {
		return false
	}
	for link := since; ; {
		i := slices.IndexFunc(d.pending, func(p pendingSent) bool { return p.token == link })
		if i < 0 {
			break
		}
		maps.Copy(d.known, d.pending[i].members)
		link = d.pending[i].from
		d.pending = slices.Delete(d.pending, i, i+1)
	}
	d.pending = slices.DeleteFunc(d.pending, func(p pendingSent) bool { return p.token.Pos <= since.Pos })
	return true
}

// has says whether the device has been sent an event, as far as it has confirmed.
func (d *deviceSent) has(m member, nid int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[m] == nid
}

// tell notes what an answer tells that follows a token. Answers that are sent without waiting for each
// other, over a socket, are a chain: its last token confirms them all.
func (s *sent) tell(v roomserver.Viewer, d *deviceSent, from, token Token, members map[member]int64) {
	d.mu.Lock()
	if len(members) == 0 && len(d.pending) == 0 {
		d.mu.Unlock()
		return
	}
	d.pending = append(d.pending, pendingSent{from, token, members})
	if over := len(d.pending) - sentPending; over > 0 {
		d.pending = slices.Delete(d.pending, 0, over)
	}
	d.mu.Unlock()
	s.keep(v, d)
}
