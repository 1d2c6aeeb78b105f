package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// tarpit is a foreign server that answers no transaction until it is let go.
type tarpit struct {
	*story.Foreign
	held chan struct{} // has a value for each transaction that came
	free chan struct{} // closed when it answers
	took chan struct{} // has a value for each transaction that it has answered

	mu   sync.Mutex
	said map[string]int // bodies of messages, by how many transactions of their own they came in
	seen map[string]bool
}

func startTarpit(t *testing.T) *tarpit {
	t.Helper()
	p := &tarpit{
		Foreign: story.NewForeign(t), held: make(chan struct{}, 1000), free: make(chan struct{}), took: make(chan struct{}, 1000),
		said: map[string]int{}, seen: map[string]bool{},
	}
	p.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			PDUs []struct {
				Content struct {
					Body string `json:"body"`
				} `json:"content"`
			} `json:"pdus"`
		}
		text, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(text, &body)
		}
		if err != nil {
			return // the sender has given up
		}
		p.held <- struct{}{}
		select {
		case <-p.free:
		case <-r.Context().Done():
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.took <- struct{}{}
		if !p.seen[r.PathValue("txn")] {
			p.seen[r.PathValue("txn")] = true
			for _, e := range body.PDUs {
				p.said[e.Content.Body]++
			}
		}
		p.Answers(w, 200, map[string]any{"pdus": map[string]any{}})
	})
	return p
}

func (p *tarpit) heard(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said[text]
}

// TestSlowServersKeepNobodyWaiting has several servers of a room give no answer: others of the same room, and other
// rooms, are sent to as if they were not there. When they answer they have missed nothing.
func TestSlowServersKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn)
		b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
		alice, bob := a.User("alice"), b.User("bob")
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		joinsVia(bob, room, a)
		joinsVia(bob, other, a)
		pits := make([]*tarpit, 5)
		for i := range pits {
			pits[i] = startTarpit(t)
			pits[i].Joins(a, fmt.Sprint("mud", i), room)
		}
		alice.Says(room, "into the mud")
		for _, p := range pits { // each has a transaction that it does not answer
			arrives(t, p.held, "a transaction to "+string(p.Name))
		}
		for i := range 20 { // while they do not, nothing waits for them
			text := fmt.Sprint("swift ", i)
			alice.Says(room, text)
			bob.Sees(room, text)
			alice.Says(other, text)
			bob.Sees(other, text)
			bob.Says(room, "back "+text)
			alice.Sees(room, "back "+text)
		}
		for _, p := range pits {
			if p.heard("swift 0") > 0 {
				t.Error("a server that does not answer has answered")
			}
			close(p.free)
		}
		for _, p := range pits {
			for p.heard("swift 19") == 0 {
				arrives(t, p.took, "the last message to come to "+string(p.Name))
			}
			for i := range 20 {
				if n := p.heard(fmt.Sprint("swift ", i)); n != 1 {
					t.Errorf("message %d came in %d transactions", i, n)
				}
			}
		}
	})
}
