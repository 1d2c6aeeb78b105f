package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// member is one of a crowd: a user who acts at random and keeps what the syncs tell as a client does.
type member struct {
	*story.User
	rng   *rand.Rand
	rooms map[string]*knownRoom
}

// knownRoom is a room as a client knows it.
type knownRoom struct {
	timeline []string          // events since the last gap
	state    map[string]string // events by type and state key
}

// TestCrowdAgrees lets a crowd act at random and at once, and checks in the end that everybody has been told
// the truth: the same order of events, without holes, and the state of each room.
func TestCrowdAgrees(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) { crowdAgrees(t, story.Start(t, dsn)) })
}

// crowdAgrees makes a crowd whose members are spread over the nodes of a server.
func crowdAgrees(t *testing.T, nodes ...*story.Server) {
	t.Helper()
	var crowd []*member
	for i := range 6 {
		seed := rand.Uint64()
		t.Logf("seed of user%d: %d", i, seed)
		crowd = append(crowd, &member{
			User: nodes[i%len(nodes)].User(fmt.Sprintf("user%d", i)), rng: rand.New(rand.NewPCG(seed, 0)), rooms: map[string]*knownRoom{},
		})
	}
	var rooms []string
	for i := range 3 {
		rooms = append(rooms, crowd[i].CreatesRoom(map[string]any{"power_level_content_override": map[string]any{"state_default": 0}}))
	}
	var all sync.WaitGroup
	for _, m := range crowd {
		all.Go(func() {
			for range 80 {
				m.acts(rooms)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, m := range crowd {
		m.checks(t, rooms)
	}
}

// acts does something that is allowed or not: refusals are part of the story.
func (m *member) acts(rooms []string) {
	room := rooms[m.rng.IntN(len(rooms))]
	switch n := m.rng.IntN(20); {
	case n < 8:
		text := map[string]any{"msgtype": "m.text", "body": fmt.Sprint(m.rng.Uint64())}
		m.Does("PUT", story.Path("rooms", room, "send", "m.room.message", m.Txn()), text)
	case n < 10:
		m.Does("POST", story.Path("join", room), `{}`)
	case n < 11:
		m.Does("POST", story.Path("rooms", room, "leave"), `{}`)
	case n < 14:
		key := fmt.Sprintf("key%d", m.rng.IntN(3))
		m.Does("PUT", story.Path("rooms", room, "state", "org.example.thing", key), map[string]any{"n": m.rng.IntN(100)})
	default:
		m.looks()
	}
}

// looks syncs, with a timeline that may be cut.
func (m *member) looks() {
	limit := []int{1, 3, 100}[m.rng.IntN(3)]
	a := m.Syncs("filter", fmt.Sprintf(`{"room":{"timeline":{"limit":%d}}}`, limit))
	for _, id := range a.At("rooms", "leave").Keys() {
		delete(m.rooms, id)
	}
	for _, id := range a.At("rooms", "join").Keys() {
		m.learns(id, a.At("rooms", "join", id))
	}
}

func (m *member) learns(id string, told story.JSON) {
	r := m.rooms[id]
	if r == nil {
		r = &knownRoom{state: map[string]string{}}
		m.rooms[id] = r
	}
	if told.At("timeline", "limited").Bool() {
		r.timeline = nil
	}
	for _, e := range told.At("state", "events").List() {
		r.state[e.At("type").Text()+" "+e.At("state_key").Text()] = e.At("event_id").Text()
	}
	for _, e := range told.At("timeline", "events").List() {
		r.timeline = append(r.timeline, e.At("event_id").Text())
		if e.Has("state_key") {
			r.state[e.At("type").Text()+" "+e.At("state_key").Text()] = e.At("event_id").Text()
		}
	}
}

// checks compares what a client knows in the end with what the server says when it is asked.
func (m *member) checks(t *testing.T, rooms []string) {
	t.Helper()
	m.looks()
	joined := m.Reads("/joined_rooms").At("joined_rooms")
	for _, id := range rooms {
		_, in := joined.Find(func(j story.JSON) bool { return j.Text() == id })
		r := m.rooms[id]
		if in != (r != nil) {
			t.Errorf("%s is in %s: %v, and was told: %v", m.Name, id, in, r != nil)
		}
		if !in || r == nil {
			continue
		}
		var history []string
		for _, e := range m.History(id) {
			history = append(history, e.At("event_id").Text())
		}
		if n := len(r.timeline); n > len(history) || !slices.Equal(history[len(history)-n:], r.timeline) {
			t.Errorf("%s was told of %v in %s, the history ends with %v", m.Name, r.timeline, id, history[max(0, len(history)-n):])
		}
		state := map[string]string{}
		for _, e := range m.Reads(story.Path("rooms", id, "state")).List() {
			key := e.At("type").Text() + " " + e.At("state_key").Text()
			if state[key] = e.At("event_id").Text(); r.state[key] != state[key] {
				t.Errorf("%s: %q of %s is %s, the client has %q", m.Name, key, id, state[key], r.state[key])
			}
		}
		if len(state) != len(r.state) {
			t.Errorf("%s: the state of %s has %d entries, the client has %d", m.Name, id, len(state), len(r.state))
		}
	}
}
