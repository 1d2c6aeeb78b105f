package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit/story"
)

func TestJoinByAnotherServer(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		alice.Says(room, "before bob")
		bob.Must("POST", story.Path("join", room)+"?via="+string(a.ServerName()), `{"reason":"to look around"}`)

		members := alice.Reads(story.Path("rooms", room, "joined_members")).At("joined")
		if !members.Has(bob.ID) || !members.Has(alice.ID) {
			t.Errorf("on alice's server the room has %s", members)
		}
		members = bob.Reads(story.Path("rooms", room, "joined_members")).At("joined")
		if !members.Has(bob.ID) || !members.Has(alice.ID) {
			t.Errorf("on bob's server the room has %s", members)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "state", "m.room.name", ""), `{"name":"mine"}`)

		carol := b.User("carol") // who comes second needs nobody's help
		carol.Joins(room)
		carol.Says(room, "hello, Bob")
		bob.Sees(room, "hello, Bob")
	})
}
