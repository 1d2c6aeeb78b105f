package test

import (
	"slices"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// memberships are the member events of a user that the bridge has taken, each as often as it came in a transaction
// of its own, and the messages between them.
func (b *bridge) memberships(user string) (seen []string, events []story.JSON) {
	b.mu.Lock()
	defer b.mu.Unlock()
	txns := map[string]bool{}
	for _, txn := range b.txns {
		if txns[txn.id] || !txn.taken {
			continue
		}
		txns[txn.id] = true
		for _, e := range txn.events {
			switch {
			case e.At("type").Text() == "m.room.member" && e.At("state_key").Text() == user:
				seen, events = append(seen, e.At("content", "membership").Text()), append(events, e)
			case e.At("type").Text() == "m.room.message":
				seen = append(seen, e.At("content", "body").Text())
			}
		}
	}
	return seen, events
}

// awaits waits until the bridge has taken a membership or message of a room.
func (b *bridge) awaits(user, last string) ([]string, []story.JSON) {
	b.t.Helper()
	for {
		seen, events := b.memberships(user)
		if len(seen) > 0 && seen[len(seen)-1] == last {
			return seen, events
		}
		arrives(b.t, b.news, "the bridge to be told "+last)
	}
}

func TestABridgeIsInvitedFromAnotherServer(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		name := matrix.ServerName(story.OwnAddress(t))
		b := startBridgeOn(t, string(name), func(registered story.Option) *story.Server {
			return story.StartAs(t, name, dsn, withSecret, registered)
		})
		far := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
		alice, ghost := far.User("alice"), b.registers("_bridge_7")
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat", "name": "Far away"})
		invite := func() { alice.Must("POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": ghost}) }

		b.mu.Lock()
		b.broken = 2 // what it did not take it is told again
		b.mu.Unlock()
		invite()
		_, events := b.awaits(ghost, "invite")
		e := events[0]
		if e.At("sender").Text() != alice.ID || e.At("room_id").Text() != room || !strings.HasPrefix(e.At("event_id").Text(), "$") || e.At("origin_server_ts").Int() == 0 {
			t.Errorf("the bridge is told %s", e)
		}
		named := func(s story.JSON) bool { return s.At("content", "name").Text() == "Far away" }
		if _, found := e.At("unsigned", "invite_room_state").Find(named); !found {
			t.Errorf("the bridge is told %s", e)
		}
		alice.Must("POST", story.Path("rooms", room, "kick"), map[string]any{"user_id": ghost})
		b.awaits(ghost, "leave")
		invite()
		b.awaits(ghost, "invite")
		b.bot.Must("POST", as(ghost, story.Path("rooms", room, "leave")), `{}`)
		b.awaits(ghost, "leave")
		alice.SeesEvent(room, "that the ghost does not want in", func(e story.JSON) bool { // else it may cross the next invite
			return e.At("sender").Text() == ghost && e.At("content", "membership").Text() == "leave"
		})
		b.hs.Restart()
		invite()
		b.awaits(ghost, "invite")
		b.bot.Must("POST", as(ghost, story.Path("join", room)), `{}`)
		b.awaits(ghost, "join")
		alice.Says(room, "welcome")
		seen, _ := b.awaits(ghost, "welcome")
		if want := []string{"invite", "leave", "invite", "leave", "invite", "join", "welcome"}; !slices.Equal(seen, want) {
			t.Errorf("the bridge saw %q, want %q", seen, want)
		}
	})
}
