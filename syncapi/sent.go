package syncapi

import (
	"maps"
	"slices"
	"sync"

	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

const (
	// sentMost bounds the memory of member events sent to devices: about so many bytes.
	sentMost = 64 << 20
	// sentPending bounds the answers to one device of which is not known whether they arrived.
	sentPending = 40
	// sentEntry is about what one remembered member costs, in bytes.
	sentEntry = 48
)

// sent remembers which member events each device has been sent, for lazy loading. An answer counts when
// the client shows its token, for until then it may have been lost. Forgetting repeats member events.
//
// Spec: CS "Lazy-loading room members".
type sent struct {
	devices *lru.Cache[device, *deviceSent]
}

// device names a device of a user.
type device struct {
	user matrix.UserID
	id   matrix.DeviceID
}

func newSent() *sent { return &sent{devices: lru.New[device, *deviceSent](sentMost)} }

// members are member events of one room, by their tuples.
type members map[int64]int64

// told is what one answer tells of members, by room.
type told map[roomserver.RoomNID]*roomTold

// roomTold is what one answer tells of the members of a room. Where the room is fresh to the client, what
// it was told before counts no more.
type roomTold struct {
	fresh   bool
	members members
}

// of gives the part of a room.
func (t told) of(room roomserver.RoomNID) *roomTold {
	r := t[room]
	if r == nil {
		r = &roomTold{members: make(members)}
		t[room] = r
	}
	return r
}

// deviceSent is what one device has been sent.
type deviceSent struct {
	mu      sync.Mutex
	known   map[roomserver.RoomNID]members
	upto    Token // known holds along the chain of tokens up to here
	pending []pendingSent
}

// pendingSent is what an answer told, by its token and the one that it followed.
type pendingSent struct {
	from, token Token
	told        told
}

// at gives the memory of a device that shows a token. A device that shows an older token than before has
// gone back, and is told everything again.
func (s *sent) at(v device, since Token, initial bool) *deviceSent {
	d, ok := s.devices.Get(v)
	if !ok || initial {
		d = &deviceSent{known: make(map[roomserver.RoomNID]members), upto: since}
		s.keep(v, d)
		return d
	}
	if d.confirm(since) {
		s.keep(v, d)
	}
	return d
}

func (s *sent) keep(v device, d *deviceSent) {
	s.devices.Put(v, d, int64(len(v.user)+len(v.id)+200)+sentEntry*d.size())
}

func (d *deviceSent) size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.known)
	for _, m := range d.known {
		n += len(m)
	}
	for _, p := range d.pending {
		for _, r := range p.told {
			n += 1 + len(r.members)
		}
	}
	return int64(n)
}

// confirm takes what the answers told that led to a token as sent; others, that were asked for again, may
// never have arrived. It says whether the memory changed.
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
	for _, t := range slices.Backward(d.chain(since)) {
		d.apply(t)
	}
	d.pending = slices.DeleteFunc(d.pending, func(p pendingSent) bool { return p.token.Pos <= since.Pos })
	return true
}

// chain takes out the answers that led to a token, the newest first. Each is taken out when it is met, so
// the walk ends.
func (d *deviceSent) chain(link Token) []told {
	var out []told
	for {
		i := slices.IndexFunc(d.pending, func(p pendingSent) bool { return p.token == link })
		if i < 0 {
			return out
		}
		out = append(out, d.pending[i].told)
		link = d.pending[i].from
		d.pending = slices.Delete(d.pending, i, i+1)
	}
}

func (d *deviceSent) apply(t told) {
	for room, r := range t {
		switch known := d.known[room]; {
		case known == nil || r.fresh:
			d.known[room] = maps.Clone(r.members)
		default:
			maps.Copy(known, r.members)
		}
		if len(d.known[room]) == 0 {
			delete(d.known, room)
		}
	}
}

// has says whether the device has been sent a member event, as far as it has confirmed.
func (d *deviceSent) has(room roomserver.RoomNID, tuple, nid int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[room][tuple] == nid
}

// tell notes what an answer tells that follows a token. Answers that are sent without waiting for each
// other, over a socket, are a chain: its last token confirms them all.
func (s *sent) tell(v device, d *deviceSent, from, token Token, t told) {
	d.mu.Lock()
	if len(t) == 0 && len(d.pending) == 0 {
		d.mu.Unlock()
		return
	}
	d.pending = append(d.pending, pendingSent{from, token, t})
	if over := len(d.pending) - sentPending; over > 0 {
		d.pending = slices.Delete(d.pending, 0, over)
	}
	d.mu.Unlock()
	s.keep(v, d)
}
