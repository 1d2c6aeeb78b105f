package crash

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// federate gives a server that is not started a name, and what it needs to speak with others. It asks notaries for
// the keys of servers that do not answer.
func (p *process) federate(notaries ...string) (name string) {
	p.t.Helper()
	name = story.OwnAddress(p.t)
	p.name = matrix.ServerName(name)
	tls := story.Certificate(p.t, name)
	settings := fmt.Sprintf(`
server_name: %s
listeners:
  - address: %s
  - address: %s:8448
    tls: {certificate: %s, key: %s}
registration: {enabled: true}
rate_limits: {enabled: false}
federation: {allow_private_addresses: true, key_notaries: [%s], certificate_authorities: [%s]}
log: {format: json}
`, name, p.url[len("http://"):], name, tls.Certificate, tls.Key, strings.Join(notaries, ", "), story.Authority(p.t))
	file := filepath.Join(p.data, "astrocyte.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		p.t.Fatal(err)
	}
	arguments := []string{"serve", "--config", file}
	for i, a := range p.arguments {
		if a == "--data" || a == "--database" {
			arguments = append(arguments, a, p.arguments[i+1])
		}
	}
	p.arguments = arguments
	return name
}

// insists repeats a request until it has an answer, over crashes.
func (a *account) insists(t *testing.T, method, path string, body any) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		answer, err := a.call(ctx, method, path, body)
		cancel()
		switch {
		case err == nil && answer.Status == http.StatusOK:
			return
		case time.Now().After(end):
			t.Errorf("%s: %s %s: %v %v", a.id, method, path, answer, err)
			return
		}
	}
}

// TestServersThatAreKilledWhileTheyFederate kills the sending and the receiving server in turns, while users of both
// talk: what was acknowledged reaches the other side once. Both are on the same engine.
func TestServersThatAreKilledWhileTheyFederate(t *testing.T) {
	program := buildProgram(t)
	testkit.Each(t, func(t *testing.T, dsn string) {
		other := testkit.SQLite
		if strings.HasPrefix(dsn, "postgres") {
			other = testkit.Postgres
		}
		a, b := newProcess(t, program, dsn), newProcess(t, program, other(t))
		nameA := a.federate()
		b.federate()
		a.start()
		b.start()
		alice, bob := register(t, a, "alice"), register(t, b, "bob")
		rooms := make([]string, 3)
		for i := range rooms {
			rooms[i] = alice.must(t.Context(), t, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).At("room_id").Text()
			bob.must(t.Context(), t, "POST", story.Path("join", rooms[i])+"?via="+nameA, map[string]any{})
		}
		const messages = 60
		done := make(chan struct{}, 2)
		for _, u := range []*account{alice, bob} {
			go func() {
				for i := range messages {
					path := story.Path("rooms", rooms[i%len(rooms)], "send", "m.room.message", fmt.Sprint("t", i))
					u.insists(t, "PUT", path, map[string]any{"msgtype": "m.text", "body": fmt.Sprint(u.id, " ", i)})
					time.Sleep(30 * time.Millisecond) // so that the kills fall among the messages
				}
				done <- struct{}{}
			}()
		}
		kills := 0
		for running := 2; running > 0; kills++ {
			select {
			case <-done:
				running--
			case <-time.After(400 * time.Millisecond):
			}
			p := []*process{a, b}[kills%2]
			p.kill()
			p.start()
		}
		t.Logf("%d kills", kills)
		for _, reader := range []*account{alice, bob} {
			reader.hasAll(t, rooms, []string{alice.id, bob.id}, messages)
		}
	})
}

// hasAll waits until a user sees every message of some users, and wants each once.
func (a *account) hasAll(t *testing.T, rooms, from []string, messages int) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		seen := make(map[string]int)
		for _, room := range rooms {
			page := a.must(t.Context(), t, "GET", story.Path("rooms", room, "messages")+"?dir=b&limit=1000", nil)
			for _, e := range page.At("chunk").List() {
				seen[e.At("content", "body").Text()]++
			}
		}
		missing, twice := 0, 0
		for _, u := range from {
			for i := range messages {
				switch n := seen[fmt.Sprint(u, " ", i)]; {
				case n == 0:
					missing++
				case n > 1:
					twice++
				}
			}
		}
		if twice > 0 {
			t.Fatalf("%s sees %d messages more than once", a.id, twice)
		}
		if missing == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not see %d messages", a.id, missing)
		}
	}
}
