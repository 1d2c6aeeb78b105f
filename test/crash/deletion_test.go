package crash

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/store"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// administrator makes an administrator's account on a running server, by the command.
func administrator(t *testing.T, p *process) *account {
	t.Helper()
	const password = "the administrator's password"
	create := exec.CommandContext(t.Context(), p.program, "user", "create", "root", "--admin", "--data", p.data)
	create.Stdin = strings.NewReader(password + "\n")
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("make an administrator: %v\n%s", err, out)
	}
	root := &account{p: p}
	in := root.must(t.Context(), t, "POST", "/login", map[string]any{
		"type": "m.login.password", "password": password, "identifier": map[string]any{"type": "m.id.user", "user": "root"},
	})
	root.id, root.token = in.At("user_id").Text(), in.At("access_token").Text()
	return root
}

// TestServerThatIsKilledWhileARoomEnds kills the program again and again while it deletes rooms: it goes on where it
// was, to the end, and other rooms know nothing of it. Where there may be other nodes, it is taken for dead first.
func TestServerThatIsKilledWhileARoomEnds(t *testing.T) {
	t.Parallel()
	program := buildProgram(t)
	testkit.Each(t, func(t *testing.T, dsn string) {
		p := newProcess(t, program, dsn)
		p.start()
		root, alice, bob := administrator(t, p), register(t, p, "alice"), register(t, p, "bob")
		other := alice.must(t.Context(), t, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).At("room_id").Text()
		inside := 0
		for range 2 {
			room := talkative(t, alice, bob)
			id := root.must(t.Context(), t, "DELETE", "/_synapse/admin/v2/rooms/"+room, map[string]any{"block": true}).At("delete_id").Text()
			for seen, kills := "", 0; ; {
				now := stand(t, root, id)
				if strings.Contains(now, `"complete"`) || strings.Contains(now, `"failed"`) {
					break
				}
				if now == seen || kills == 3 {
					time.Sleep(time.Millisecond)
					continue
				}
				p.kill()
				p.start()
				kills++
				if seen = stand(t, root, id); !strings.Contains(seen, `"complete"`) {
					inside++
				}
			}
			is := root.must(t.Context(), t, "GET", "/_synapse/admin/v2/rooms/delete_status/"+id, nil)
			if is.At("status").Text() != "complete" || len(is.At("shutdown_room", "kicked_users").List()) != 2 {
				t.Errorf("the deletion ended as %s", is)
			}
			isGone(t, dsn, p, room)
		}
		t.Logf("%d kills fell into deletions", inside)
		if inside == 0 {
			t.Error("no kill fell into a deletion")
		}
		alice.must(t.Context(), t, "PUT", story.Path("rooms", other, "send", "m.room.message", "last"), map[string]any{"msgtype": "m.text", "body": "life goes on"})
	})
}

// talkative makes a room of two in which much was said.
func talkative(t *testing.T, alice, bob *account) string {
	t.Helper()
	room := alice.must(t.Context(), t, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).At("room_id").Text()
	bob.must(t.Context(), t, "POST", story.Path("join", room), map[string]any{})
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			for i := range 100 {
				path := story.Path("rooms", room, "send", "m.room.message", fmt.Sprint("t", n, "-", i))
				alice.insists(t, "PUT", path, map[string]any{"msgtype": "m.text", "body": "line"})
			}
		})
	}
	all.Wait()
	return room
}

// stand is how far a deletion is.
func stand(t *testing.T, root *account, id string) string {
	t.Helper()
	return root.must(t.Context(), t, "GET", "/_synapse/admin/v2/rooms/delete_status/"+id, nil).String()
}

// isGone wants the database to know nothing of a room any more but that it is blocked.
func isGone(t *testing.T, dsn string, p *process, room string) {
	t.Helper()
	p.stop()
	db, err := store.Open(context.Background(), store.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(t.Context(), func(tx *store.Tx) error {
		for _, table := range []string{"rooms", "events", "timeline", "members", "user_rooms", "state_snapshots", "search_docs", "search_rooms", "room_servers"} {
			n, _, err := store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
				`SELECT count(*) FROM `+table+` WHERE room_nid = (SELECT room_nid FROM room_ids WHERE room_id = $1)`, room)
			if err != nil {
				return err
			}
			if n > 0 {
				t.Errorf("%s has %d rows of a room that was deleted", table, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("read the database: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	p.start()
}
