package ephemeral

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
)

const (
	presenceTick    = 2 * time.Second  // how often it is told who came, went or fell asleep
	presenceRepeat  = 5 * time.Minute  // a node tells the others again who is there
	presenceForgets = 12 * time.Minute // and is not there any more when it has not for so long
	maxPresenceLog  = 4096             // changes that are remembered in their order
)

// people is how the users are, as far as this node has heard. Of each user one node keeps the time: the one
// that told of them last. It tells the others when they come, go or fall asleep.
type people struct {
	sub  *bus.Subscription
	now  func() time.Time
	node int64 // which of all nodes this is

	mu     sync.Mutex
	serial int64
	who    map[matrix.UserID]*person
	log    []presenceChange // the newest changes, in order
}

// person is what is known of one user.
type person struct {
	state  State
	status string
	active time.Time // when they last did something
	serial int64     // of the newest change
	keeper int64     // the node that keeps the time
	heard  time.Time // when that node last told of them

	signs map[matrix.DeviceID]sign // the last sign of life of each device that came to this node

	abroad      State // what another server said of its user; empty: nothing
	abroadUntil time.Time
}

// sign is a sign of life: what a device said of its user.
type sign struct {
	state State
	at    time.Time
}

type presenceChange struct {
	serial int64
	user   matrix.UserID
}

// presenceNote is what goes over the bus.
type presenceNote struct {
	Node   int64  `json:"node"`
	State  State  `json:"state"`
	Status string `json:"status,omitempty"`
	Ago    int64  `json:"ago"`           // milliseconds since they were active
	Set    bool   `json:"set,omitempty"` // the user said so: what they did on other nodes does not count
}

func newPeople(sub *bus.Subscription, now func() time.Time, node int64) *people {
	return &people{sub: sub, now: now, node: node, serial: 1, who: make(map[matrix.UserID]*person)}
}

// here is the state of a user by the signs that came to this node.
func (p *person) here(now time.Time) State {
	if p.abroad != "" {
		if now.Before(p.abroadUntil) {
			return p.abroad
		}
		return Offline
	}
	best := p.said(now)
	if best == Online && now.Sub(p.active) >= activeFor {
		return Unavailable
	}
	return best
}

// said is the best of what devices said lately.
func (p *person) said(now time.Time) State {
	best := Offline
	for device, s := range p.signs {
		switch {
		case now.Sub(s.at) >= presenceGrace:
			delete(p.signs, device)
		case better(s.state, best):
			best = s.state
		}
	}
	return best
}

func (p *person) sign(device matrix.DeviceID, state State, now time.Time) {
	if p.signs == nil {
		p.signs = make(map[matrix.DeviceID]sign, 1)
	}
	p.signs[device] = sign{state, now}
}

// better says whether a user is more there in one state than in another.
func better(a, b State) bool {
	rank := map[State]int{Unavailable: 1, Online: 2}
	return rank[a] > rank[b]
}

func (p *people) find(user matrix.UserID) *person {
	it := p.who[user]
	if it == nil {
		if len(p.who) >= maxPresences {
			p.forget()
		}
		it = &person{state: Offline, keeper: p.node}
		p.who[user] = it
	}
	return it
}

// forget drops those who are gone; where there are none, anybody.
func (p *people) forget() {
	for user, it := range p.who {
		if it.state == Offline {
			delete(p.who, user)
		}
	}
	for user := range p.who {
		if len(p.who) < maxPresences {
			return
		}
		delete(p.who, user)
	}
}

func (p *people) seen(user matrix.UserID, device matrix.DeviceID, state State) []bus.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	it, now := p.find(user), p.now()
	if state == Online && it.said(now) != Online {
		it.active = now // who comes, or comes back to the device, does something
	}
	it.sign(device, state, now)
	if it.state == Offline && state != Offline {
		return nil // who comes is told with the next tick: all who come by then are told at once, and not who went again
	}
	return p.review(user, it, now)
}

func (p *people) acted(user matrix.UserID) []bus.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	it := p.who[user]
	if it == nil {
		return nil
	}
	it.active = p.now()
	return p.review(user, it, it.active)
}

// review tells of a user where the signs say something else than what was told. Another node that keeps
// the time is only relieved when the user is more here than there.
func (p *people) review(user matrix.UserID, it *person, now time.Time) []bus.Change {
	state := it.here(now)
	if state == it.state || it.keeper != p.node && !better(state, it.state) {
		return nil
	}
	return p.become(user, it, presenceNote{State: state, Status: it.status, Ago: now.Sub(it.active).Milliseconds()})
}

func (p *people) set(user matrix.UserID, device matrix.DeviceID, state State, status string) []bus.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	it, now := p.find(user), p.now()
	it.signs, it.active = nil, now
	it.sign(device, state, now)
	return p.become(user, it, presenceNote{State: state, Status: status, Set: true})
}

// become changes what is told of a user, and gives what the other nodes are to hear.
func (p *people) become(user matrix.UserID, it *person, note presenceNote) []bus.Change {
	note.Node = p.node
	it.keeper, it.heard = p.node, p.now()
	if it.state != note.State || it.status != note.Status {
		it.state, it.status = note.State, note.Status
		p.changed(user, it)
	}
	told, err := json.Marshal(note)
	if err != nil {
		return nil
	}
	return []bus.Change{{Kind: bus.Presence, Key: string(user), Data: told}}
}

func (p *people) changed(user matrix.UserID, it *person) {
	p.serial = max(p.serial+1, serialOf(time.Duration(p.now().UnixNano())))
	it.serial = p.serial
	if len(p.log) >= maxPresenceLog {
		p.log = slices.Delete(p.log, 0, maxPresenceLog/2)
	}
	p.log = append(p.log, presenceChange{p.serial, user})
}

// drain applies what other nodes have told. The lock is held.
func (p *people) drain() {
	for {
		select {
		case c := <-p.sub.C:
			var note presenceNote
			if c.Kind == bus.Presence && json.Unmarshal(c.Data, &note) == nil && note.Node != p.node {
				p.apply(matrix.UserID(c.Key), note)
			}
		default:
			return
		}
	}
}

func (p *people) apply(user matrix.UserID, note presenceNote) {
	it, now := p.find(user), p.now()
	it.keeper, it.heard = note.Node, now
	if at := now.Add(-time.Duration(note.Ago) * time.Millisecond); at.After(it.active) {
		it.active = at
	}
	if note.Set {
		it.signs = nil
	}
	if it.state != note.State || it.status != note.Status {
		it.state, it.status = note.State, note.Status
		p.changed(user, it)
	}
}

// keepTime finds who has gone or fallen asleep, and repeats to the other nodes who is there.
func (p *people) keepTime() []bus.Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	now := p.now()
	var told []bus.Change
	for user, it := range p.who {
		switch state := it.here(now); {
		case it.state == Offline && state == Offline:
		case it.keeper == p.node && state == it.state && now.Sub(it.heard) > presenceRepeat:
			told = append(told, p.become(user, it, presenceNote{State: state, Status: it.status, Ago: now.Sub(it.active).Milliseconds()})...)
		case it.keeper != p.node && now.Sub(it.heard) > presenceForgets:
			it.keeper = p.node
			fallthrough
		default:
			told = append(told, p.review(user, it, now)...)
		}
	}
	return told
}

func (p *people) at(it *person, now time.Time) Presence {
	out := Presence{State: it.state, Status: it.status, Known: true}
	if it.keeper == p.node {
		out.State = it.here(now)
	}
	if !it.active.IsZero() {
		out.Ago = max(now.Sub(it.active), 0)
	}
	out.Active = out.State == Online && out.Ago < activeFor
	return out
}

// PresenceNow tells how a user is; false: nothing is known of them.
func (e *Ephemeral) PresenceNow(user matrix.UserID) (Presence, bool) {
	p := e.people
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	it := p.who[user]
	if it == nil {
		return Presence{}, false
	}
	return p.at(it, p.now()), true
}

// PresenceSince tells of the users whose presence changed after one mark, so that those who change from now
// on do so after the other, which was taken just before; after the first mark, of all who are there. wanted
// says of whom; it is asked without any lock.
func (e *Ephemeral) PresenceSince(since, upto TypingMark, wanted func(matrix.UserID) bool) map[matrix.UserID]Presence {
	out := make(map[matrix.UserID]Presence)
	for _, user := range e.people.since(since, upto) {
		if !wanted(user) {
			continue
		}
		if p, known := e.PresenceNow(user); known {
			out[user] = p
		}
	}
	return out
}

func (p *people) since(since, upto TypingMark) []matrix.UserID {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drain()
	p.serial = max(p.serial, upto.Serial)
	if since.Epoch != p.node {
		since.Serial = max(since.Serial-serialOf(clockSkew), 0)
	}
	var users []matrix.UserID
	if since.Epoch != 0 && len(p.log) > 0 && p.log[0].serial <= since.Serial+1 {
		i, _ := slices.BinarySearchFunc(p.log, since.Serial+1, func(c presenceChange, s int64) int { return int(c.serial - s) })
		for _, c := range p.log[i:] {
			if it := p.who[c.user]; it != nil && it.serial == c.serial { // the newest change of each
				users = append(users, c.user)
			}
		}
		return users
	}
	for user, it := range p.who {
		if it.serial > since.Serial && (since.Epoch != 0 || it.state != Offline) {
			users = append(users, user)
		}
	}
	return users
}
