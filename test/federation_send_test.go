package test

import (
	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"fmt"
	"testing"

	"astrocyte/testkit/story"
)

// joinsVia joins a room of another server.
func joinsVia(u *story.User, room string, via *story.Server) {
	u.Must("POST", story.Path("join", room)+"?via="+string(via.ServerName()), `{}`)
}

func TestChatBetweenServers(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob, carol := a.User("alice"), b.User("bob"), b.User("carol")
		room := alice.CreatesRoom()
		joinsVia(bob, room, a)
		alice.SeesMembership(room, bob, "join")
		alice.Says(room, "hello, Bob")
		bob.Sees(room, "hello, Bob")
		bob.Says(room, "hello, Alice")
		alice.Sees(room, "hello, Alice")
		carol.Joins(room)
		alice.SeesMembership(room, carol, "join")
		alice.Bans(room, carol, "no")
		bob.SeesMembership(room, carol, "ban")
		bob.Leaves(room)
		alice.SeesMembership(room, bob, "leave")
		alice.Says(room, "nobody is left")
		bob.DoesNotSee(room, "nobody is left")
	})
}

func TestWhatPassesBetweenServers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		presence := func(c *config.Config) { c.Presence.Federation = true }
		a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn, presence)
		b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t), presence)
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		joinsVia(bob, room, a)
		alice.SeesMembership(room, bob, "join")
		root := alice.Says(room, "hello, Bob")
		bob.Sees(room, "hello, Bob")

		bob.Must("PUT", story.Path("rooms", room, "typing", bob.ID), `{"typing":true,"timeout":20000}`)
		alice.Waits("bob to type", func(a story.JSON) bool { return len(ephemeral(a, room, "m.typing").At("user_ids").List()) == 1 })
		bob.Must("PUT", story.Path("rooms", room, "typing", bob.ID), `{"typing":false}`)
		alice.Waits("bob to stop", func(a story.JSON) bool {
			typing := ephemeral(a, room, "m.typing")
			return typing.There() && len(typing.At("user_ids").List()) == 0
		})

		has := func(event, thread string) func(story.JSON) bool {
			return func(a story.JSON) bool {
				r := ephemeral(a, room, "m.receipt").At(event, "m.read", bob.ID)
				return r.At("ts").Int() > 0 && r.At("thread_id").Text() == thread
			}
		}
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", root), `{}`)
		alice.Waits("bob's receipt", has(root, ""))
		reply := bob.SendsEvent(room, "m.room.message", "r1", map[string]any{
			"msgtype": "m.text", "body": "in a thread", "m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": root},
		})
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", reply), map[string]any{"thread_id": root})
		alice.Waits("bob's receipt of the thread", has(reply, root))

		bob.Must("PUT", story.Path("presence", bob.ID, "status"), `{"presence":"online","status_msg":"here"}`)
		alice.Waits("bob's presence", func(a story.JSON) bool {
			_, found := a.At("presence", "events").Find(func(e story.JSON) bool {
				return e.At("sender").Text() == bob.ID && e.At("content", "status_msg").Text() == "here"
			})
			return found
		})

		bob.Must("PUT", story.Path("sendToDevice", "org.example.note", "t1"), map[string]any{
			"messages": map[string]any{alice.ID: map[string]any{"*": map[string]any{"text": "for you"}}},
		})
		alice.Waits("bob's message to her device", func(a story.JSON) bool {
			_, found := a.At("to_device", "events").Find(func(e story.JSON) bool { return e.At("content", "text").Text() == "for you" })
			return found
		})
	})
}

// TestServerThatWasAway is not reached for a while, which administrators see, and is caught up when it is back.
func TestServerThatWasAway(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn, withSecret)
		b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
		alice, bob, root := a.User("alice"), b.User("bob"), administrator(t, a, "root")
		rooms := make([]string, 3)
		for i := range rooms {
			rooms[i] = alice.CreatesRoom()
			joinsVia(bob, rooms[i], a)
			alice.Says(rooms[i], "before")
			bob.Sees(rooms[i], "before")
		}
		b.Stop()
		for i := range 5 {
			for _, room := range rooms {
				alice.Says(room, fmt.Sprint("while bob is away ", i))
			}
		}
		entry := "/_synapse/admin/v1/federation/destinations"
		d := root.Finds("a server that is not reached", entry+"?failing=true", func(a story.JSON) bool {
			return a.At("total").Int() == 1 && a.At("destinations", 0, "waiting_rooms").Int() == 3
		}).At("destinations", 0)
		if d.At("destination").Text() != string(b.ServerName()) || d.At("waiting_rooms").Int() != 3 || d.At("failure").Text() == "" {
			t.Errorf("the destination is %s", d)
		}
		one := entry + "/" + string(b.ServerName())
		if waiting := root.Reads(one + "/rooms?limit=2"); len(waiting.At("rooms").List()) != 2 || waiting.At("total").Int() != 3 || waiting.At("next_token").Text() != "2" {
			t.Errorf("the rooms that wait are %s", waiting)
		}
		alice.IsRefused(matrix.CodeForbidden, 403, "GET", one, nil)
		root.IsRefused(matrix.CodeNotFound, 404, "GET", entry+"/nothing.example.org", nil)
		b.Restart()
		for _, room := range rooms {
			for i := range 5 {
				bob.Sees(room, fmt.Sprint("while bob is away ", i))
			}
		}
		root.Finds("the server that is back", one, func(a story.JSON) bool {
			return a.At("waiting_rooms").Int() == 0 && !a.At("failure_ts").There() && a.At("last_successful_ts").Int() > 0
		})
		root.IsRefused(matrix.CodeUnknown, 400, "POST", one+"/reset_connection", `{}`)
	})
}
