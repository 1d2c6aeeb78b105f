package e2ee_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// model is what must be true of a process that crashes, and the clients that find out.
type model struct {
	h  *harness
	mu sync.Mutex

	nextKey int
	waiting int64          // one-time keys, as far as the uploading client knows
	given   map[string]int // how often each was given out

	sent     [3]int          // the last number of each sender, acknowledged or not
	acked    [3]map[int]bool // what was acknowledged, and has to come
	atCopy   [3]int          // the last number when the copy was made
	seen     [3]map[int]bool
	last     [3]int // the last number that came
	had, now int64  // the position up to which the reader has its messages, and asks on

	nextDevice int
	from       int64 // up to where the follower of lists knows them
	follows    []string
}

func newModel(h *harness) *model {
	m := &model{h: h, given: make(map[string]int)}
	for s := range m.sent {
		m.acked[s], m.seen[s] = make(map[int]bool), make(map[int]bool)
	}
	return m
}

// loops are what the clients do again and again, each by itself.
func (m *model) loops() []func() {
	return []func(){
		m.upload, m.claim, m.claim, m.claim, m.read, m.change, m.follow,
		func() { m.send(0) }, func() { m.send(1) }, func() { m.send(2) },
	}
}

// upload uploads keys that were never uploaded before.
func (m *model) upload() {
	if m.waiting > 100 {
		m.waiting-- // the others claim meanwhile
		m.claim()
		return
	}
	m.nextKey += 5
	m.h.insist("Upload", m.nextKey, &m.waiting)
}

func (m *model) claim() {
	var name string
	if cut, _ := m.h.call("Claim", Nothing{}, &name); cut || name == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.given[name]++; m.given[name] > 1 {
		m.h.t.Errorf("%s was given out %d times", name, m.given[name])
	}
}

func (m *model) send(sender int) {
	m.mu.Lock()
	m.sent[sender]++
	n := m.sent[sender]
	m.mu.Unlock()
	answered, past := m.h.insist("Send", SendCall{sender, n}, &Nothing{})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.h.mu.Lock(); answered && past == m.h.past { // and no copy was put back since
		m.acked[sender][n] = true
	}
	m.h.mu.Unlock()
}

// read reads messages as a client does. An answer that does not come is asked for again from the same place.
func (m *model) read() {
	var r NewsReply
	if cut, _ := m.h.call("News", NewsCall{m.had, m.now}, &r); cut {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, raw := range r.Messages {
		var message struct{ Content struct{ N, S int } }
		if err := json.Unmarshal(raw, &message); err != nil {
			m.h.t.Error(err)
			return
		}
		n, s := message.Content.N, message.Content.S
		if n <= m.last[s] {
			m.h.t.Errorf("message %d of sender %d comes after message %d", n, s, m.last[s])
		}
		m.last[s] = n
		m.seen[s][n] = true
	}
	m.had, m.now = m.now, r.Told
}

// change makes devices, and deletes them but for the last ones.
func (m *model) change() {
	m.nextDevice++
	m.h.insist("Device", fmt.Sprintf("D%d", m.nextDevice), &Nothing{})
	if m.nextDevice > 5 {
		m.h.insist("Drop", fmt.Sprintf("D%d", m.nextDevice-5), &Nothing{})
	}
}

// follow asks for devices when it is told to, as clients do.
func (m *model) follow() {
	var l ListReply
	if cut, _ := m.h.call("Changes", m.from, &l); cut {
		return
	}
	if l.Changed {
		var ids []string
		if cut, _ := m.h.call("Devices", Nothing{}, &ids); cut {
			return
		}
		m.follows = ids
	}
	m.from = l.Pos
}

// copied notes what a copy knows that was made just now.
func (m *model) copied() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.atCopy = m.sent
}

// restored notes that the copy was put back: what was sent after it may be lost.
func (m *model) restored() {
	m.h.mu.Lock()
	m.h.past++
	m.h.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.acked {
		for n := range m.acked[s] {
			if n >= m.atCopy[s] {
				delete(m.acked[s], n)
			}
		}
	}
}

// end reads what is left, and wants that nothing is missing.
func (m *model) end() {
	t := m.h.t
	for range 1 + m.sent[0] + m.sent[1] + m.sent[2] {
		before := m.now
		if m.read(); m.now == before {
			break
		}
	}
	for s := range m.acked {
		lost := 0
		for n := range m.acked[s] {
			if !m.seen[s][n] {
				lost++
			}
		}
		t.Logf("sender %d: %d messages sent, %d seen", s, m.sent[s], len(m.seen[s]))
		if lost > 0 {
			t.Errorf("sender %d: %d messages were acknowledged, and lost", s, lost)
		}
	}
	m.follow()
	var ids []string
	m.h.call("Devices", Nothing{}, &ids)
	if !slices.Equal(ids, m.follows) {
		t.Errorf("the devices are %v, and who follows them knows %v", ids, m.follows)
	}
	t.Logf("%d keys given out, %d devices made, copies put back: %d", len(m.given), m.nextDevice, m.h.past)
	if len(m.given) == 0 {
		t.Error("no key was given out")
	}
}
