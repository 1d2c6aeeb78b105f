package test

import (
	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
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
