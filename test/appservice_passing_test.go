package test

import (
	"slices"
	"testing"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// passes waits until the bridge took something that is in no timeline, in the words of the specification and of the
// proposal before it.
func (b *bridge) passes(what string, fits func(event story.JSON) bool) {
	b.t.Helper()
	for !b.hasPassed(fits) {
		select {
		case <-b.news:
		case <-b.t.Context().Done():
			b.t.Fatalf("the bridge was not told: %s", what)
		}
	}
}

func (b *bridge) hasPassed(fits func(event story.JSON) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, txn := range b.txns {
		all, err := story.ParseJSON([]byte(txn.body))
		if err != nil {
			b.t.Error(err)
		}
		stable, early := all.At("ephemeral"), all.At("de.sorunome.msc2409.ephemeral")
		if stable.String() != early.String() {
			b.t.Errorf("the transaction says %s, and %s", stable, early)
		}
		if txn.taken && slices.ContainsFunc(stable.List(), fits) {
			return true
		}
	}
	return false
}

func typesIn(room string, users ...string) func(story.JSON) bool {
	return func(e story.JSON) bool {
		return e.At("type").Text() == "m.typing" && e.At("room_id").Text() == room && slices.Equal(e.At("content", "user_ids").Texts(), users)
	}
}

func readsIn(room, event, kind, user string) func(story.JSON) bool {
	return func(e story.JSON) bool {
		return e.At("type").Text() == "m.receipt" && e.At("room_id").Text() == room && e.At("content", event, kind, user, "ts").Int() > 0
	}
}

func TestABridgeIsToldWhatPasses(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		b := startBridge(t, dsn)
		bot, alice := b.bot, b.hs.User("alice")
		ghost := b.registers("_bridge_7")
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		bot.Must("POST", as(ghost, "/rooms/"+room+"/join"), `{}`)
		first, elsewhere := alice.Says(room, "first"), alice.Says(other, "not for the bridge")

		for _, in := range []string{other, room} {
			alice.Must("PUT", story.Path("rooms", in, "typing", alice.ID), `{"typing":true,"timeout":60000}`)
		}
		b.passes("alice types", typesIn(room, alice.ID))
		alice.Must("PUT", story.Path("rooms", room, "typing", alice.ID), `{"typing":false}`)
		b.passes("nobody types", typesIn(room))

		alice.Must("POST", story.Path("rooms", other, "receipt", "m.read", elsewhere), `{}`)
		alice.Must("POST", story.Path("rooms", room, "receipt", "m.read.private", first), `{}`)
		alice.Must("POST", story.Path("rooms", room, "receipt", "m.read", first), `{"thread_id":"main"}`)
		b.passes("alice has read", readsIn(room, first, "m.read", alice.ID))
		bot.Must("POST", as(ghost, story.Path("rooms", room, "receipt", "m.read.private", first)), `{}`)
		b.passes("the bridge's user has read, and does not tell", readsIn(room, first, "m.read.private", ghost))

		carol := b.hs.User("carol")
		carol.Must("PUT", story.Path("presence", carol.ID, "status"), `{"presence":"online"}`)
		alice.Must("PUT", story.Path("presence", alice.ID, "status"), `{"presence":"unavailable","status_msg":"at lunch"}`)
		b.passes("alice is away", func(e story.JSON) bool {
			return e.At("type").Text() == "m.presence" && e.At("sender").Text() == alice.ID && !e.Has("room_id") &&
				e.At("content", "presence").Text() == "unavailable" && e.At("content", "status_msg").Text() == "at lunch"
		})
		if b.hasPassed(func(e story.JSON) bool {
			return e.At("room_id").Text() == other || e.At("sender").Text() == carol.ID || e.At("content", first, "m.read.private").Has(alice.ID)
		}) {
			t.Errorf("the bridge was told what is not its concern: %v", b.txns)
		}

		bot.Must("POST", as(ghost, "/rooms/"+room+"/leave"), `{}`)
		bot.Must("POST", as(ghost, "/join/"+other), `{}`)
		alice.Must("PUT", story.Path("rooms", other, "typing", alice.ID), `{"typing":false}`)
		alice.Must("PUT", story.Path("rooms", other, "typing", alice.ID), `{"typing":true,"timeout":60000}`)
		b.passes("alice types in the other room", typesIn(other, alice.ID))
	})
}

// TestReceiptsForABridgeAreNotLost has the bridge refuse what it is told, and the server start anew meanwhile.
func TestReceiptsForABridgeAreNotLost(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		b := startBridge(t, dsn)
		bot, alice := b.bot, b.hs.User("alice")
		ghost := b.registers("_bridge_7")
		room := alice.CreatesRoom()
		bot.Must("POST", as(ghost, "/rooms/"+room+"/join"), `{}`)
		first := alice.Says(room, "first")
		b.hears("first")

		b.mu.Lock()
		b.broken, b.txns = 2, nil
		b.mu.Unlock()
		alice.Must("POST", story.Path("rooms", room, "receipt", "m.read", first), `{}`)
		<-b.news
		b.hs.Restart()
		b.passes("alice has read", readsIn(room, first, "m.read", alice.ID))
	})
}
